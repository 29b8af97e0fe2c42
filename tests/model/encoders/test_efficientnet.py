from typing import Any

import pytest
import torch

from anyseek.model.encoders.efficientnet import EfficientNetLite0, convert


def _published(seed: int) -> dict[str, torch.Tensor]:
    """Random tensors with the names and shapes of the published file."""
    generator = torch.Generator().manual_seed(seed)
    network = EfficientNetLite0()
    published = {"_fc.weight": network.classifier.weight.detach(), "_fc.bias": network.classifier.bias.detach()}

    def add(convolution: str, norm: str, ours: Any) -> None:
        weight = ours.weight.detach()
        published[f"{convolution}.weight"] = torch.randn(weight.shape, generator=generator) * 0.1
        for name in ("weight", "bias", "running_mean", "running_var"):
            published[f"{norm}.{name}"] = torch.rand(len(weight), generator=generator) + 0.5

    add("_conv_stem", "_bn0", network.stem)
    add("_conv_head", "_bn1", network.head)
    for index, block in enumerate(network.blocks):
        if index:
            add(f"_blocks.{index}._expand_conv", f"_blocks.{index}._bn0", block.expand)
        add(f"_blocks.{index}._depthwise_conv", f"_blocks.{index}._bn1", block.depthwise)
        add(f"_blocks.{index}._project_conv", f"_blocks.{index}._bn2", block.project)
    return published


def test_a_converted_file_fits_the_network_and_gives_maps_vectors_and_logits() -> None:
    network = EfficientNetLite0()
    network.load_state_dict(convert(_published(0)))
    with torch.inference_mode():
        features = network.eval()(torch.zeros(2, 3, 224, 224))
    assert features.grid.shape == (2, 1280, 7, 7)
    assert features.logits.shape == (2, 1000)
    torch.testing.assert_close(features.pooled, features.grid.mean(dim=(2, 3)))


def test_a_file_without_a_tensor_is_refused() -> None:
    published = _published(0)
    del published["_blocks.7._project_conv.weight"]
    with pytest.raises(KeyError, match=r"_blocks\.7\._project_conv"):
        convert(published)


@pytest.mark.slow
def test_it_agrees_with_the_published_implementation() -> None:
    oracle_module = pytest.importorskip("efficientnet_lite_pytorch", reason="the oracle is not installed")
    published = _published(1)
    oracle = oracle_module.EfficientNet.from_name("efficientnet-lite0")
    oracle.load_state_dict(published, strict=False)
    network = EfficientNetLite0()
    network.load_state_dict(convert(published))
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(pixels).logits, oracle.eval()(pixels), atol=1e-3, rtol=1e-3)
