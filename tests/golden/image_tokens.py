"""Compare the tokens of an image tokenizer."""

import torch
from torch import Tensor

from anyseek.model.tokenizers.image_vqvae import ImageTokenizer
from tests.golden.cases import Arrays
from tests.golden.comparison import Comparison

TOKENIZER_TOLERANCE = 1e-4
_TOKEN_MARGIN = 1e-4


def compare_tokens(result: Comparison, place: str, network: ImageTokenizer, image: Tensor, arrays: Arrays) -> Tensor:
    """Compare the image's tokens, their lead and their codes with those under `place`; returns the recorded tokens.

    Codes are looked up from the recorded tokens, so that a tie decided otherwise spoils nothing after it.
    """
    margin, recorded = arrays[place + "margin"], torch.from_numpy(arrays[place + "tokens"]).long()
    best = network.quantize.scores(network.latents(image)).topk(2, dim=-1)
    result.equal(place + "tokens", best.indices[..., 0], arrays[place + "tokens"], margin > _TOKEN_MARGIN)
    if network.config.norm_codes:  # the scale of Euclidean scores is not part of the record
        result.close(place + "margin", best.values[..., 0] - best.values[..., 1], margin, TOKENIZER_TOLERANCE)
    result.close(place + "quant", network.quantize.lookup(recorded), arrays[place + "quant"], TOKENIZER_TOLERANCE)
    return recorded
