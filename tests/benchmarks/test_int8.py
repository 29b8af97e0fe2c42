"""Linear layers in int8: close to float32, row by row."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.model.int8 import Int8Linear
from benchmarks.model.networks import INT8, PLAIN, SMALL, Case, Networks, Variant
from benchmarks.model.rounding import _logits


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(48,), (0, 48), (1, 48), (3, 48), (2, 0, 48), (2, 5, 48)])
@torch.inference_mode()
def test_a_layer_in_int8_is_close_to_the_layer(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 21, bias=bias), torch.randn(shape)
    torch.testing.assert_close(Int8Linear(linear)(x), linear(x), atol=0.03, rtol=0.01)


@torch.inference_mode()
def test_rows_do_not_depend_on_each_other_and_may_be_of_any_size() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 21, bias=False)
    sizes = torch.tensor([0.0, 1e-20, 1.0, 1e6])[:, None]
    x, layer = torch.randn(1, 48) * sizes, Int8Linear(linear)
    together = layer(x)
    for row in range(len(x)):
        torch.testing.assert_close(layer(x[row : row + 1])[0], together[row], atol=0, rtol=0)
    assert (together[0] == 0).all()
    assert F.cosine_similarity(together[1:] / sizes[1:], linear(x[1:] / sizes[1:])).min() > 0.999


@torch.inference_mode()
def test_a_network_in_int8_predicts_nearly_the_same() -> None:
    networks, exact = Networks(SMALL), Case("rgb", 2, PLAIN)
    case = replace(exact, variant=Variant(INT8))
    network = networks.of(case.variant)
    assert isinstance(network.get_submodule("encoder.0.attn.qkv"), Int8Linear)
    assert isinstance(network.get_submodule("decoder.0.cross_attn.kv"), nn.Linear)
    expected, found = (_logits(networks, each) for each in (exact, case))
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(1), expected.flatten(1)).min() > 0.995
    assert not torch.equal(found, expected)
