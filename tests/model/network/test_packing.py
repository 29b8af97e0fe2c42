"""Packed weights: the same network, faster."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from anyseek.model.network.packing import PackedLinear, can_pack, pack, pack_head
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM

Inputs = dict[str, ModalityInput]
GLOBALS = ("tok_visual", "tok_semantic")

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="this torch has no oneDNN")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(16,), (0, 16), (3, 16), (2, 0, 16), (2, 5, 16)])
@torch.inference_mode()
def test_a_packed_layer_equals_the_linear_layer(shape: tuple[int, ...], bias: bool) -> None:
    linear, x = nn.Linear(16, 5, bias=bias), torch.randn(shape)
    torch.testing.assert_close(PackedLinear(linear)(x), linear(x))


@torch.inference_mode()
def test_packing_does_not_change_predictions(network: FourM, small_inputs: Inputs) -> None:
    expected = network.decode_global(network.encode(small_inputs), GLOBALS)
    pack(network, GLOBALS)
    assert isinstance(network.get_submodule("encoder.0.attn.qkv"), PackedLinear)
    assert isinstance(network.get_submodule("decoder_embeddings.tok_visual.to_logits"), PackedLinear)
    found = network.decode_global(network.encode(small_inputs), GLOBALS)
    for key in GLOBALS:
        torch.testing.assert_close(found[key], expected[key], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_matrices_of_folded_attention_and_other_logits_stay(network: FourM, small_inputs: Inputs) -> None:
    pack(network, ("tok_visual",))
    assert isinstance(network.get_submodule("decoder.0.cross_attn.kv"), nn.Linear)
    assert isinstance(network.get_submodule("decoder_embeddings.palette.to_logits"), nn.Linear)


@torch.inference_mode()
def test_a_head_can_be_packed_later_and_is_packed_once(network: FourM, small_inputs: Inputs) -> None:
    expected = network.decode_global(network.encode(small_inputs), ["tok_visual"])["tok_visual"]
    pack(network, ())
    for _ in range(2):
        pack_head(network, "tok_visual")
        found = network.decode_global(network.encode(small_inputs), ["tok_visual"])["tok_visual"]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert isinstance(network.get_submodule("decoder_embeddings.tok_visual.to_logits"), PackedLinear)


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this processor has no bfloat16 in oneDNN")
@torch.inference_mode()
def test_a_bfloat16_network_gives_logits_in_float32(make_fourm: Callable[..., FourM], small_inputs: Inputs) -> None:
    network = make_fourm(tie_token_embeddings=True)
    expected = network.decode_global(network.encode(small_inputs), GLOBALS)
    pack(network.bfloat16(), GLOBALS)
    inputs = {
        key: ModalityInput(given.values.bfloat16() if given.values.is_floating_point() else given.values, given.mask)
        for key, given in small_inputs.items()
    }
    found = network.decode_global(network.encode(inputs), GLOBALS)
    for key in GLOBALS:
        torch.testing.assert_close(found[key], expected[key], atol=0.02, rtol=0.02)  # also compares dtypes
        assert not torch.equal(found[key], found[key].bfloat16().float())  # not rounded at the end
    assert network.get_parameter("decoder_embeddings.tok_visual.token_emb.weight").dtype is torch.bfloat16


def test_layers_that_onednn_cannot_pack_are_unchanged(make_fourm: Callable[..., FourM]) -> None:
    assert not can_pack(torch.float64)
    network = make_fourm().double()
    pack(network, GLOBALS)
    assert isinstance(network.get_submodule("encoder.0.attn.qkv"), nn.Linear)
