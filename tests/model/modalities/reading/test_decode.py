"""What each kind of bytes decodes to, and what each kind of bad bytes is called."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from anyseek.model.errors import LimitExceeded
from anyseek.model.modalities.reading.decode import decode, decode_file
from anyseek.model.modalities.reading.documents import parse_palette, parse_text
from anyseek.model.modalities.reading.encoded import WORKING_SIDE, FileLimits
from anyseek.model.modalities.reading.errors import (
    BadMap,
    BadPalette,
    BadText,
    BrokenPicture,
    DecodeError,
    EmptyInput,
    InputUnreadable,
    InputVanished,
    NotAPicture,
    TextTooLong,
    TooManyBytes,
    TooManyPixels,
    UnknownModality,
)
from anyseek.model.modalities.reading.pictures import thumbnail
from tests.indexer.pictures import bomb, encoded, jpeg, noise, png
from tests.model.modalities.files import npy

LIMITS = FileLimits()
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]


def rgb(data: bytes, limits: FileLimits = LIMITS) -> np.ndarray:
    value = np.asarray(decode("rgb", data, limits, "a.png"))
    assert (value.dtype, value.ndim) == (np.uint8, 3)
    return value


def turned() -> Image.Exif:
    """Made anew each time: some encoders take the orientation out of what they are given."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    return exif


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_gives_its_picture(kind: str) -> None:
    flat = Image.new("RGB", (30, 20), (200, 40, 60))
    assert np.abs(rgb(encoded(flat, kind)).astype(int) - [200, 40, 60]).max() <= 4
    assert rgb(encoded(flat, kind)).shape == (20, 30, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_broken(kind: str) -> None:
    whole = encoded(noise(1, 300, 200), kind)
    with pytest.raises(BrokenPicture, match=r"a\.png is a damaged picture"):
        rgb(whole[: len(whole) // 2])


def test_what_is_no_picture_is_refused_in_words() -> None:
    with pytest.raises(EmptyInput, match=r"notes\.png is empty"):
        decode("rgb", b"", LIMITS, "notes.png")
    with pytest.raises(NotAPicture, match=r"notes\.png is not a picture"):
        decode("rgb", b"Dear diary, ...", LIMITS, "notes.png")
    with pytest.raises(UnknownModality, match="'smell' is not a modality; the modalities are rgb"):
        decode("smell", png(1), LIMITS, "a.png")


def test_a_pixel_bomb_is_refused_before_any_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data, loaded = bomb(30_000), []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: loaded.append(picture))
    with pytest.raises(TooManyPixels, match="30000 x 30000 pixels; at most 100,000,000") as refused:
        rgb(data)
    assert loaded == []
    assert isinstance(refused.value, LimitExceeded)


def test_limits_are_exact() -> None:
    data = png(1, 20, 10)
    assert rgb(data, FileLimits(pixels=200)).shape == (10, 20, 3)
    with pytest.raises(TooManyPixels):
        rgb(data, FileLimits(pixels=199))
    assert rgb(data, FileLimits(bytes_per_file=len(data))).shape == (10, 20, 3)
    with pytest.raises(TooManyBytes):
        rgb(data, FileLimits(bytes_per_file=len(data) - 1))


def test_large_pictures_come_at_the_working_size() -> None:
    for kind in ("JPEG", "PNG", "TIFF"):
        large = rgb(encoded(Image.new("RGB", (3000, 1500), (9, 90, 200)), kind))
        assert large.shape == (WORKING_SIDE // 2, WORKING_SIDE, 3)
        assert np.abs(large.astype(int) - [9, 90, 200]).max() <= 4
    assert rgb(encoded(Image.new("L", (5000, 1)), "PNG")).shape == (1, WORKING_SIDE, 3)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert np.abs(rgb(data).astype(int) - [255, 0, 0]).max() <= 2


def test_cmyk_and_sixteen_bits() -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = rgb(encoded(cmyk, "JPEG"))[4, 4]
    assert red[0] > 200
    assert red[1:].max() < 60
    deep = Image.fromarray((np.arange(256) * 257).astype(np.uint16).reshape(16, 16))
    assert rgb(encoded(deep, "PNG"))[..., 0].ravel().tolist() == list(range(256))
    floats = Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16))
    assert rgb(encoded(floats, "TIFF"))[..., 0].ravel().tolist() == pytest.approx(list(range(256)), abs=1)


def test_what_shines_through_is_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (rgb(encoded(clear, "PNG")) == 255).all()
    assert (rgb(encoded(Image.new("LA", (8, 8), (0, 0)), "PNG")) == 255).all()
    indexed = Image.new("P", (8, 8), 1)
    indexed.putpalette([0, 0, 0, 10, 20, 30])
    assert (rgb(encoded(indexed, "PNG")) == [10, 20, 30]).all()
    assert (rgb(encoded(indexed, "PNG", transparency=1)) == 255).all()
    assert (rgb(encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3))) == 255).all()
    half = rgb(encoded(Image.new("RGBA", (1200, 1200), (0, 0, 0, 128)), "PNG"))
    assert np.abs(half.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_camera_was_held_upright(kind: str, mode: str) -> None:
    picture = Image.new("RGB", (40, 20), "white")
    picture.paste("black", (0, 0, 20, 20))  # the left half
    picture = picture.convert(mode)
    value = rgb(encoded(picture, kind, exif=turned()))
    assert value.shape == (40, 20, 3)
    assert value[:15].max() < 60  # the left half is now the upper one
    assert value[25:].min() > 200
    assert rgb(encoded(Image.new("P", (40, 20), 1), "PNG", transparency=0, exif=turned())).shape == (40, 20, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16", "I;16B"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    assert rgb(encoded(Image.new(mode, (900, 600)), "TIFF")).shape == (341, 512, 3)


@pytest.mark.parametrize(("stroke", "paper"), [(0, 255), (255, 0)])
def test_strokes_stand_out_on_transparent_paper(stroke: int, paper: int) -> None:
    drawing = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    drawing.paste((stroke, stroke, stroke, 255), (2, 2, 4, 4))
    value = np.asarray(decode("sketch", encoded(drawing, "PNG"), LIMITS, "d.png"))
    assert (value.shape, value.dtype) == ((10, 10), np.uint8)
    assert (value[3, 3], value[8, 8]) == (stroke, paper)


def depth(data: bytes, limits: FileLimits = LIMITS) -> np.ndarray:
    value = np.asarray(decode("depth", data, limits, "d.png"))
    assert value.dtype == np.float32
    return value


def test_depth_keeps_its_measurements() -> None:
    values = np.array([[0, 1000], [65535, 7]], np.uint16)
    expected = np.array([[np.nan, 1000], [65535, 7]], np.float32)
    np.testing.assert_array_equal(depth(encoded(Image.fromarray(values), "PNG")), expected)
    np.testing.assert_array_equal(depth(npy(values)), expected)
    np.testing.assert_array_equal(depth(npy(expected.astype(np.float64))), expected)
    np.testing.assert_array_equal(depth(npy(np.array([[np.inf, 2.5]]))), [[np.nan, 2.5]])


def test_large_maps_are_picked_not_blended() -> None:
    values = np.tile(np.array([3, 900], np.uint16), (2000, 500))
    assert set(np.unique(depth(npy(values)))) <= {3.0, 900.0}
    assert max(depth(npy(values)).shape) <= WORKING_SIDE


def test_bad_depth_maps() -> None:
    for bad in (np.zeros((4, 4)), np.ones(5), np.ones((2, 2, 3)), np.ones((2, 2), complex), np.array([["a"]])):
        with pytest.raises(BadMap):
            depth(npy(bad))
    with pytest.raises(BadMap):
        depth(npy(np.array([[{"a": 1}]], object), allow_pickle=True))
    with pytest.raises(BadMap, match="ends before"):
        depth(npy(np.ones((100, 100)))[:-50])
    with pytest.raises(BadMap, match="in colours"):
        depth(png(1))
    with pytest.raises(BrokenPicture):
        depth(encoded(Image.fromarray(np.arange(40_000, dtype=np.uint16).reshape(200, 200)), "PNG")[:400])


def test_a_map_that_lies_about_its_size_takes_no_memory() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (99_999, 99_999)})
    with pytest.raises(TooManyPixels):
        depth(stream.getvalue())
    with pytest.raises(TooManyPixels):
        depth(npy(np.ones((20, 20), np.uint8)), FileLimits(pixels=399))


def test_region_ids_are_kept() -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    painted = Image.frombytes("P", (4, 3), ids.tobytes())
    painted.putpalette([255 - n for n in range(256) for _ in range(3)])
    grey = Image.fromarray(ids)
    for data in (encoded(grey, "PNG"), encoded(painted, "PNG"), npy(ids), npy(ids.astype(np.uint16))):
        value = decode("semseg", data, LIMITS, "s", {3: "sky"})
        np.testing.assert_array_equal(value.ids, ids)
        assert (value.ids.dtype, value.classes) == (np.int32, {3: "sky"})
    with pytest.raises(BadMap):
        decode("semseg", png(1), LIMITS, "s.png")
    for bad in (ids.astype(np.float32), ids.astype(np.int16) - 1, ids.astype(np.int64) << 40):
        with pytest.raises(BadMap, match=r"s\.npy holds .* numbers that are no ids"):
            decode("semseg", npy(bad), LIMITS, "s.npy")


def test_normals_are_never_turned() -> None:
    value = decode("normal", encoded(noise(1, 30, 20), "PNG", exif=turned()), LIMITS, "n.png")
    np.testing.assert_array_equal(value, np.asarray(noise(1, 30, 20)))


def test_texts() -> None:
    assert decode("caption", "  ein süßer Apfel \n".encode(), LIMITS, "c") == "ein süßer Apfel"
    assert parse_text("x" * 10_000, LIMITS, "c") == "x" * 10_000
    with pytest.raises(TextTooLong, match="10,001 characters"):
        parse_text("x" * 10_001, LIMITS, "c")
    with pytest.raises(EmptyInput):
        parse_text(" \n\t", LIMITS, "c")
    for bad in ("a\0b", "half \ud800 pair"):
        with pytest.raises(BadText):
            parse_text(bad, LIMITS, "c")
    with pytest.raises(BadText):
        decode("text", b"\xff\xfe", LIMITS, "c")


@pytest.mark.parametrize(
    "bad",
    [
        *("", "red", "#fff", "#ff8800,", "#gggggg", ",".join(["#000000"] * 8)),
        *("[]", "[1]", '["red"]', '["#112233", ["#112233"]]', "[", str(["#000000"] * 8)),
    ],
)
def test_palettes(bad: str) -> None:
    np.testing.assert_array_equal(parse_palette("#ff8800, #00000A", "p"), [[255, 136, 0], [0, 0, 10]])
    with pytest.raises(BadPalette):
        decode("palette", bad.encode(), LIMITS, "p")


def test_thumbnails_fit_and_decode() -> None:
    small = Image.open(io.BytesIO(thumbnail(np.zeros((100, 500, 3), np.uint8))))
    assert (small.format, small.size) == ("JPEG", (256, 51))
    assert Image.open(io.BytesIO(thumbnail(np.zeros((10, 8, 3), np.uint8)))).size == (8, 10)


def test_files_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(InputVanished, match="does not exist"):
        decode_file("rgb", tmp_path / "gone.png", LIMITS)
    os.mkfifo(tmp_path / "pipe.png")
    for odd in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(InputUnreadable):
            decode_file("rgb", odd, LIMITS)
    (tmp_path / "ok.png").write_bytes(png(1))
    with pytest.raises(TooManyBytes):
        decode_file("rgb", tmp_path / "ok.png", FileLimits(bytes_per_file=10))
    assert isinstance(decode_file("rgb", tmp_path / "ok.png", LIMITS), np.ndarray)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_no_permission_is_said(open_folder: Path) -> None:
    secret = open_folder / "secret.png"
    secret.write_bytes(png(1))
    secret.chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(InputUnreadable, match="cannot be read: Permission denied"):
            decode_file("rgb", secret, LIMITS)
    finally:
        os.seteuid(0)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd tags before it fails at them
@given(st.data())
def test_damaged_bytes_end_in_a_value_or_a_decode_error(data: st.DataObject) -> None:
    """Whatever is done to a file of any format: no other error, no crash."""
    whole = bytearray(data.draw(st.sampled_from(_SAMPLES)))
    for _ in range(data.draw(st.integers(1, 8))):
        where = data.draw(st.integers(0, len(whole) - 1))
        whole[where : where + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=6))
    for modality in ("rgb", "canny_edge", "depth", "semseg", "normal"):
        with contextlib.suppress(DecodeError):
            decode(modality, bytes(whole), FileLimits(pixels=1_000_000), "x")


_SAMPLES = [encoded(noise(3, 20, 12), kind) for kind in FORMATS] + [jpeg(2, 700, 20), npy(np.ones((5, 6)))]
