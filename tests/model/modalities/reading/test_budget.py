"""What the files of a request cost together is counted before it is spent."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from anyseek.model.errors import LimitExceeded
from anyseek.model.modalities.reading.budget import Budget, use_budget
from anyseek.model.modalities.reading.decode import decode, interpret
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import BrokenPicture, RequestTooCostly
from tests.indexer.pictures import encoded
from tests.model.modalities.files import npy

LIMITS = FileLimits()
_KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


@pytest.mark.parametrize("kind", _KINDS)
def test_pixels_of_every_format_count(kind: str) -> None:
    data = encoded(Image.new("RGB", (64, 50), "red"), kind)
    with use_budget(Budget(2 * 64 * 50, seconds=60)):
        decode("rgb", data, LIMITS, "a")
        decode("sketch", data, LIMITS, "b")
        with pytest.raises(RequestTooCostly, match="c takes 3,200 pixels, and the request has 0 left"):
            decode("rgb", data, LIMITS, "c")
    decode("rgb", data, LIMITS, "c")


def test_maps_and_arrays_count_as_pictures_do() -> None:
    grey = encoded(Image.new("L", (64, 50), 7), "PNG")
    values = npy(np.ones((64, 50), np.float32))
    with use_budget(Budget(4 * 64 * 50, seconds=60)):
        for modality, data in (("depth", grey), ("depth", values), ("semseg", grey), ("normal", grey)):
            decode(modality, data, LIMITS, modality)
        with pytest.raises(LimitExceeded):
            decode("depth", values, LIMITS, "one more")


@pytest.mark.parametrize(("modality", "form"), [("normal", "right-up-viewer"), ("sketch", "photographed")])
def test_a_file_that_is_read_in_two_ways_counts_once(modality: str, form: str) -> None:
    shades = np.full((50, 64, 3), (128, 128, 255), np.uint8)
    shades[10:40, 30] = (148, 128, 250)
    data = encoded(Image.fromarray(shades), "PNG")
    with use_budget(Budget(64 * 50, seconds=60)):
        interpret(modality, data, LIMITS, "a", form=form)
        with pytest.raises(RequestTooCostly, match="the request has 0 left"):
            interpret(modality, data, LIMITS, "b", form=form)


def test_what_is_refused_costs_nothing() -> None:
    with use_budget(Budget(100, seconds=60)):
        for _ in range(3):
            with pytest.raises(RequestTooCostly):
                decode("rgb", encoded(Image.new("RGB", (64, 50)), "PNG"), LIMITS, "a")
        decode("rgb", encoded(Image.new("RGB", (10, 10)), "PNG"), LIMITS, "b")


def test_seconds_are_counted_over_all_files() -> None:
    now = [0.0]
    budget = Budget(10_000, 10, clock=lambda: now[0])
    for _ in range(2):
        with budget.decoding("a"):
            now[0] += 6
    with pytest.raises(RequestTooCostly, match="before b took 10 s"), budget.decoding("b"):
        pass


def test_a_picture_one_pixel_high_is_a_picture_like_others() -> None:
    wide = encoded(Image.new("RGB", (60_000, 1), "red"), "PNG")
    assert decode("rgb", wide, LIMITS, "a").shape == (1, 512, 3)
    with use_budget(Budget(59_999, seconds=60)), pytest.raises(RequestTooCostly):
        decode("rgb", wide, LIMITS, "a")


def _tiled(side: int) -> bytes:
    """A TIFF of 16 x 16 pixels in one deflated tile of other sides."""
    pixels = zlib.compress(bytes(side * side))
    long, short = 4, 3
    fields = [
        (256, long, 16), (257, long, 16), (258, short, 8), (259, short, 8), (262, short, 1), (277, short, 1),
        (322, long, side), (323, long, side), (324, long, 8), (325, long, len(pixels)),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return start + pixels + struct.pack("<H", len(fields)) + table + bytes(4)


def test_a_tile_beyond_reason_is_refused_by_the_header() -> None:
    assert decode("rgb", _tiled(256), LIMITS, "a.tif").shape == (16, 16, 3)
    with pytest.raises(BrokenPicture, match="tiles of 5008 x 5008 pixels for 16 x 16"):
        decode("rgb", _tiled(5008), LIMITS, "a.tif")


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_large_picture_of_numbers_is_stretched_as_a_whole(dtype: type) -> None:
    values = np.linspace(0, 60_000, 1500 * 1200).reshape(1500, 1200).astype(dtype)
    picture = decode("rgb", encoded(Image.fromarray(values), "TIFF"), LIMITS, "a.tif")
    assert picture[0, 0, 0] <= 1
    assert picture[-1, -1, 0] >= (254 if dtype is np.float32 else 232)
    assert (np.diff(picture[:, 0, 0].astype(int)) >= 0).all()
