"""The decoder of images from the encoder's maps: its shapes, its file, and which input it chooses."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anyseek.model.encoders.efficientnet import LEVELS, EfficientNetLite0
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.bundled.dense_decoder import SIDE, SOURCES, TARGETS, load_decoder
from tests.random_bundle import random_decoder, save_decoder


def _levels(count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, side, side, generator=generator) for side, channels, _ in LEVELS]


def test_the_encoder_gives_the_maps_that_the_decoder_takes() -> None:
    pixels = torch.rand(1, 3, 224, 224)
    encoder = EfficientNetLite0().eval()
    with torch.inference_mode():
        found = encoder.levels(pixels)
        torch.testing.assert_close(found[1], encoder.begin(pixels))
    assert [tuple(level.shape[1:]) for level in found] == [(channels, side, side) for side, channels, _ in LEVELS]


def test_images_have_their_shapes_and_ranges() -> None:
    decoded = random_decoder().decode(_levels(), "rgb")
    assert decoded.depth.shape == (2, 1, SIDE, SIDE)
    assert decoded.normal.shape == (2, 3, SIDE, SIDE)
    torch.testing.assert_close(decoded.normal.norm(dim=1), torch.ones(2, SIDE, SIDE))
    assert (decoded.semseg.argmax(dim=1) > 0).all(), "it says something everywhere"


def test_one_picture_is_decoded_differently_as_another_modality() -> None:
    decoder = random_decoder()
    as_picture, as_depth = (decoder.decode(_levels(), name) for name in ("rgb", "depth"))
    assert not torch.equal(as_picture.depth, as_depth.depth)


def test_what_is_seen_mirrored_is_decoded_mirrored() -> None:
    levels = _levels()
    turned = [level.flip(0) for level in levels]
    here, there = (random_decoder().decode_mirrored(maps, "rgb") for maps in (levels, turned))
    torch.testing.assert_close(here.depth, there.depth.flip(-1))
    torch.testing.assert_close(here.semseg, there.semseg.flip(-1))
    torch.testing.assert_close(here.normal[:, 1:], there.normal[:, 1:].flip(-1))
    torch.testing.assert_close(here.normal[:, 0], -there.normal[:, 0].flip(-1))
    assert here.depth.shape == (1, 1, SIDE, SIDE)


def test_of_several_inputs_the_one_with_the_least_error_is_chosen() -> None:
    decoder = random_decoder()
    for target in TARGETS:
        assert decoder.best_input(target, SOURCES) == "canny_edge"
        assert decoder.best_input(target, ["caption", "rgb", "bounding_boxes"]) == "rgb"
        assert decoder.best_input(target, ["caption", "color_palette", "metadata"]) is None
    assert decoder.best_input("rgb", SOURCES) is None


def test_a_file_gives_the_decoder_back_in_few_bytes(tmp_path: Path) -> None:
    decoder, path = random_decoder(62), tmp_path / "decoder.safetensors"
    save_decoder(decoder, path)
    assert path.stat().st_size < 650_000
    known, read = decoder.decode(_levels(), "depth"), load_decoder(path).decode(_levels(), "depth")
    torch.testing.assert_close(read.depth, known.depth, rtol=0, atol=0.02)
    assert load_decoder(path).best_input("depth", SOURCES) == "canny_edge"


@pytest.mark.parametrize("damage", ["cut", "shape", "missing"])
def test_damaged_files_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "decoder.safetensors"
    save_decoder(random_decoder(), path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        tensors = load_file(path)
        bias = tensors.pop("last.bias")
        save_file(tensors if damage == "missing" else tensors | {"last.bias": torch.cat([bias, bias])}, path)
    with pytest.raises(WeightsCorrupt, match="is not a decoder of images"):
        load_decoder(path)
