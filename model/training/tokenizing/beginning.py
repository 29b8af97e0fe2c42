"""What a tokenizer is before its first step."""

from pathlib import Path

import torch
from torch import Tensor

from model.checkpoints import load_tokenizer
from model.config import ConfigInvalid
from model.tokenizers.build import Tokenizer, build_tokenizer
from model.tokenizers.initialising import initialise_image_tokenizer
from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.tokenizing.config import TokenizerTraining

# Of the latents of memcodes: scores then spread more than twice as far as the noise that codes are drawn with.
_DEVIATION = 3.0
_SMALLEST = 1e-6


def begin(config: TokenizerTraining) -> Tokenizer:
    """The network before its first step, with the tensors of `config.start` where it is given.

    Raises `TrainingConfigInvalid` for a shape that no tokenizer has, or another than the start's.
    """
    try:
        network = build_tokenizer(config.tokenizer)
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"tokenizer: {error}") from error
    if isinstance(network, VQVAE):
        network.initialise(config.seed)
    else:
        initialise_image_tokenizer(network, config.seed)
    if config.start is not None:
        _take_tensors(network, config.start)
    return network


@torch.no_grad()
def _take_tensors(network: Tokenizer, path: Path) -> None:
    """Begin as the tokenizer in a file is; positions stay those of the network's own size of images."""
    stored = load_tokenizer(path).state_dict()
    for name, tensor in network.state_dict().items():
        if name.endswith("pos_emb"):
            continue
        if name not in stored or stored[name].shape != tensor.shape:
            raise TrainingConfigInvalid(f"start: {path} has no {name} of the shape {tuple(tensor.shape)}")
        tensor.copy_(stored[name])


@torch.no_grad()
def spread_latents(network: VQVAE, vectors: Tensor) -> None:
    """Have the latents of a first batch of vectors float (B, C) differ, whatever the vectors have in common.

    Codes are drawn by scores plus noise. Where the latents are much alike, as those of vectors with a large mean are,
    noise decides, the decoder learns to do without the codes, and then nothing ever tells the encoder to use them.
    """
    latents = network.latents(vectors)
    scale = _DEVIATION / latents.std(dim=0).clamp_min(_SMALLEST)
    projection = network.quant_proj
    projection.weight.mul_(scale[:, None, None, None])
    if projection.bias is not None:
        projection.bias.copy_((projection.bias - latents.mean(dim=0)) * scale)
