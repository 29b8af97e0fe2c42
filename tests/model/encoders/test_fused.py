"""Fused convolutions: the same encoder, faster."""

import logging
from collections.abc import Callable

import pytest
import torch

from anyseek.model.compute.devices import MIN_COSINE
from anyseek.model.encoders import fused as fusing
from anyseek.model.encoders.efficientnet import EfficientNetLite0, SameConv, load_efficientnet
from anyseek.model.encoders.fused import FusedConv, can_fuse, fuse, fuse_if_equal, load_fastest, min_cosine
from anyseek.model.encoders.preprocess import encoder_input, picture_pixels
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.galleries.photos import read_photos
from tests.model.pulled import HOME, or_skip

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
    faster = fuse(network)
    assert isinstance(faster.stem, FusedConv)
    assert isinstance(network.stem, SameConv)
    found = faster(pixels)
    for part in ("grid", "pooled", "logits", "parts"):
        torch.testing.assert_close(getattr(found, part), getattr(expected, part), atol=1e-4, rtol=1e-4)
    for one, other in zip(faster.levels(pixels), levels, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def _lacking(network: EfficientNetLite0) -> EfficientNetLite0:
    raise RuntimeError("this processor lacks it")


def _with_classifier(fill: float) -> Callable[[EfficientNetLite0], EfficientNetLite0]:
    def broken(network: EfficientNetLite0) -> EfficientNetLite0:
        other = EfficientNetLite0().eval()
        other.load_state_dict(network.state_dict())
        torch.nn.init.constant_(other.classifier.weight, fill)
        return other

    return broken


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (_lacking, "lacks it"),
        (_with_classifier(0.0), "give other features"),
        (_with_classifier(float("nan")), "give other features"),
    ],
)
@torch.inference_mode()
def test_a_processor_where_fusing_goes_wrong_has_one_warning_and_the_layers_of_torch(
    broken: Callable[[EfficientNetLite0], EfficientNetLite0],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fusing, "fuse", broken)
    torch.manual_seed(0)
    network = EfficientNetLite0().eval()
    with caplog.at_level(logging.WARNING):
        assert fuse_if_equal(network) is network
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert says in caplog.text


@torch.inference_mode()
def test_real_pictures_have_the_features_of_the_published_encoder() -> None:
    """The rule of the fingerprint, with the weights in use; skipped where they are not pulled."""
    with or_skip():
        path = check_encoders(HOME) / "efficientnet-lite0.safetensors"
    photos = encoder_input([picture_pixels(photo.picture()) for photo in read_photos()[::8]])
    assert min_cosine(load_fastest(path)(photos), load_efficientnet(path)(photos)) > MIN_COSINE
