"""Parts of pictures by a box."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import BadRegion
from anyseek.model.modalities.reading.understanding import understand

LIMITS = FileLimits()


def _png(size: tuple[int, int] = (40, 20), exif: Image.Exif | None = None) -> bytes:
    stream, image = io.BytesIO(), Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    image.save(stream, "PNG", exif=exif or Image.Exif())
    return stream.getvalue()


def _cut(data: bytes, *box: float) -> np.ndarray:
    return np.asarray(understand("rgb", data, LIMITS, "a.png", box=box).value)


def test_a_box_is_cut_out_in_fractions() -> None:
    right = understand("rgb", _png(), LIMITS, "a.png", box=(0.5, 0.25, 1, 0.75))
    assert np.asarray(right.value).shape == (10, 20, 3)
    assert np.unique(np.asarray(right.value).reshape(-1, 3), axis=0).tolist() == [[0, 0, 255]]
    assert right.understood is not None
    assert right.understood.sentence == "only the box 0.5, 0.25, 1, 0.75 of a.png is used, 20 x 10 pixels"
    assert _cut(_png(), 0.999, 0.999, 1, 1).shape == (1, 1, 3)
    np.testing.assert_array_equal(_cut(_png(), 0, 0, 1, 1), understand("rgb", _png(), LIMITS, "a").value)  # type: ignore[arg-type]


def test_a_small_part_of_a_large_picture_keeps_its_details() -> None:
    assert _cut(_png((2000, 1000)), 0.4, 0.4, 0.6, 0.6).shape == (200, 400, 3)
    assert max(_cut(_png((2000, 1000)), 0, 0, 1, 1).shape) == 512


@pytest.mark.parametrize(
    ("box", "turn", "decoded"),
    [
        ((0.25, 0.25, 0.75, 0.75), 1, (1500, 1125)),
        ((0, 0, 1, 0.5), 1, (1500, 1125)),
        ((0, 0, 0.5, 1), 6, (1500, 1125)),
        ((0, 0, 1, 1), 1, (750, 563)),
        ((0.4, 0.4, 0.6, 0.6), 1, (3000, 2250)),
    ],
)
def test_a_part_is_decoded_as_large_as_it_is_looked_at(
    box: tuple[float, ...], turn: int, decoded: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3000 x 2250 pixels, the upright picture 2250 x 3000 where it is turned."""
    shades = np.add.outer(np.linspace(0, 100, 2250), np.linspace(0, 150, 3000)).astype(np.uint8)
    exif, stream, sizes = Image.Exif(), io.BytesIO(), []
    exif[0x0112] = turn
    Image.fromarray(shades).convert("RGB").save(stream, "JPEG", quality=95, exif=exif)
    load = JpegImageFile.load_prepare
    monkeypatch.setattr(JpegImageFile, "load_prepare", lambda image: sizes.append(image.size) or load(image))
    part = _cut(stream.getvalue(), *box).astype(int)
    assert sizes == [decoded]
    assert max(part.shape) == 512
    upright = shades if turn == 1 else np.rot90(shades, -1)
    high, wide = upright.shape
    whole = upright[int(box[1] * high) : int(box[3] * high), int(box[0] * wide) : int(box[2] * wide)]
    expected = Image.fromarray(np.ascontiguousarray(whole)).resize(part.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(part[:, :, 0] - np.asarray(expected).astype(int)).max() <= 4


def test_a_box_is_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its left half is at the top once it is upright
    top = _cut(_png(exif=exif), 0, 0, 1, 0.5)
    assert np.unique(top.reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0.5, 0, 0.5, 1), "the box of a.png is 0.5, 0, 0.5, 1 and empty"),
        ((0.6, 0, 0.5, 1), "empty; left is below right"),
        ((0, 0, 2, 1), "from 0 to 1"),
        ((-0.1, 0, 1, 1), "from 0 to 1"),
        ((float("nan"), 0, 1, 1), "from 0 to 1"),
        ((0, 0, 1), "left, top, right and bottom"),
    ],
)
def test_a_box_outside_or_empty_is_one_sentence(box: tuple[float, ...], says: str) -> None:
    with pytest.raises(BadRegion, match=says):
        _cut(_png(), *box)


def test_a_box_is_of_pictures_alone() -> None:
    with pytest.raises(BadRegion, match="a is canny_edge and has a box; a box is of a picture"):
        understand("sketch", _png(), LIMITS, "a", box=(0, 0, 1, 1))
