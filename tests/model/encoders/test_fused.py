"""Fused convolutions: the same encoder, faster."""

import pytest
import torch

from anyseek.model.encoders.efficientnet import EfficientNetLite0, SameConv
from anyseek.model.encoders.fused import FusedConv, can_fuse, fused

pytestmark = pytest.mark.skipif(not can_fuse(), reason="this torch has no oneDNN")
SIDE = 14


@pytest.mark.parametrize("clamped", [True, False])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 8), (3, 2, 8), (5, 2, 8), (5, 1, 8), (3, 2, 1)]
)
@torch.inference_mode()
def test_a_fused_convolution_is_the_convolution(
    kernel: int, stride: int, groups: int, batch: int, clamped: bool
) -> None:
    torch.manual_seed(0)
    conv = SameConv(8, 8, kernel, stride, groups, clamped)
    x = 9 * torch.randn(batch, 8, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    expected = conv(x)
    if clamped:
        assert expected.min() == 0
        assert expected.max() == 6
    torch.testing.assert_close(FusedConv(conv, SIDE)(x), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_residual_is_added() -> None:
    conv, x = SameConv(8, 8, 1), torch.randn(3, 8, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(FusedConv(conv, SIDE)(x, x), conv(x) + x)


@pytest.mark.parametrize("batch", [1, 4])
@torch.inference_mode()
def test_a_fused_network_sees_what_it_saw(batch: int) -> None:
    torch.manual_seed(1)
    network = EfficientNetLite0().eval()
    pixels = torch.rand(batch, 3, 224, 224) * 2 - 1
    expected, levels = network(pixels), network.levels(pixels)
    faster = fused(network)
    assert isinstance(faster.stem, FusedConv)
    assert isinstance(network.stem, SameConv)
    found = faster(pixels)
    for part in ("grid", "pooled", "logits", "parts"):
        torch.testing.assert_close(getattr(found, part), getattr(expected, part), atol=1e-4, rtol=1e-4)
    for one, other in zip(faster.levels(pixels), levels, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
