"""Decoding with kept keys and values, against the decoder over the whole prefix."""

from collections.abc import Callable

import pytest
import torch

from model.embedder import UnsupportedModality
from model.generation.prefix_decoder import PrefixDecoder
from model.tokens import ModalityInput
from model.transformer import FourM


@pytest.mark.parametrize("changes", [{}, {"qk_norm": True, "num_register_tokens": 2}])
def test_it_gives_what_the_whole_prefix_gives(
    make_fourm: Callable[..., FourM], small_inputs: dict[str, ModalityInput], changes: dict[str, object]
) -> None:
    network = make_fourm(**changes)
    tokens = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(3))  # longer than max_length 10
    with torch.inference_mode():
        context = network.encode(small_inputs)
        decoder = PrefixDecoder(network, "palette", context, 12)
        stepwise = torch.stack([decoder.step(tokens[:, place]) for place in range(12)], dim=1)
        content, embedding = network.decoder_embeddings["palette"](tokens, torch.zeros(3, 12, dtype=torch.bool))
        blocked = torch.ones(1, 12, 12, dtype=torch.bool).triu(1)
        whole = network.logits("palette", network.run_decoder(content + embedding, context, blocked))
    torch.testing.assert_close(stepwise, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("key", ["tok_visual", "map", "smell"])
def test_only_sequences_are_decoded_like_this(
    make_fourm: Callable[..., FourM], small_inputs: dict[str, ModalityInput], key: str
) -> None:
    network = make_fourm()
    with pytest.raises(UnsupportedModality, match=key):
        PrefixDecoder(network, key, network.encode(small_inputs), 3)
