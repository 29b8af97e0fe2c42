"""Depth maps in every usual form, each made from rooms whose distances are known."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.reading.decode import decode_file, interpret
from anyseek.model.modalities.reading.encoded import FileLimits, Interpretation
from anyseek.model.modalities.reading.errors import (
    BadMap,
    BrokenPicture,
    DecodeError,
    EmptyInput,
    FormatNotInstalled,
    NotAPicture,
    TooManyBytes,
    TooManyPixels,
    UnknownForm,
)
from anyseek.model.modalities.rendering.renderers import render_depth
from anyseek.model.seam import FloatArray
from tests.model.modalities.files import npy, png

LIMITS = FileLimits()


def _rooms() -> list[FloatArray]:
    views = [view for view in read_views() if "depth" in view["modalities"]][::60]
    return [np.asarray(decode_file("depth", FOLDER / view["modalities"]["depth"], LIMITS)) / 100 for view in views]


ROOMS = _rooms()  # metres


def _read(data: bytes, name: str = "map", form: str | None = None) -> tuple[FloatArray, Interpretation]:
    reading = interpret("depth", data, LIMITS, name, form=form)
    return np.asarray(reading.value), reading.interpretation


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _filled(values: np.ndarray, dtype: type, most: int) -> np.ndarray:
    share = (values - values.min()) / (values.max() - values.min())
    return np.rint(1 + share * (most - 1)).astype(dtype)


def _coloured(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


CONVENTIONS: dict[str, tuple[str, Callable[[FloatArray], bytes]]] = {
    "16-bit PNG, millimetres": ("far-bright", lambda m: png((m * 1000).astype(np.uint16))),
    "16-bit PNG, 1/256 m": ("far-bright", lambda m: png((m * 256).astype(np.uint16))),
    "16-bit PNG, 1/5000 m": ("far-bright", lambda m: png((m * 5000).astype(np.uint16))),
    "8-bit PNG, near dark": ("far-bright", lambda m: png(_filled(m, np.uint8, 255))),
    "8-bit PNG, near bright": ("near-bright", lambda m: png(_filled(-m, np.uint8, 255))),
    "grey JPEG in colour": ("near-bright", lambda m: png(_coloured(_filled(-m, np.uint8, 255)), "JPEG")),
    "16-bit PNG, inverse": ("near-bright", lambda m: png(_filled(1 / m, np.uint16, 65535))),
    "float TIFF, metres": ("far-bright", lambda m: png(m.astype(np.float32), "TIFF")),
    "NPY, metres": ("far-bright", lambda m: npy(m)),
    "NPY, millimetres": ("far-bright", lambda m: npy((m * 1000).astype(np.int32))),
    "NPY, inverse": ("inverse", lambda m: npy(1 / m)),
    "NPZ, inverse": ("inverse", lambda m: _npz(disparity=1 / m, rgb=np.zeros((2, 2, 3)))),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_is_guessed_and_read(convention: str) -> None:
    form, write = CONVENTIONS[convention]
    for metres in ROOMS:
        value, interpretation = _read(write(metres))
        assert interpretation.form == form
        assert 0.5 <= interpretation.sure <= 1
        order = np.corrcoef(np.argsort(np.argsort(value.ravel())), np.argsort(np.argsort(metres.ravel())))[0, 1]
        assert order > 0.97  # far places are far, whatever the file's numbers are


@pytest.mark.parametrize("form", ["far-bright", "near-bright", "inverse"])
def test_what_the_sender_says_is_done(form: str) -> None:
    metres = ROOMS[0]
    stored = {"far-bright": metres, "near-bright": 9 - metres, "inverse": 1 / metres}[form]
    value, interpretation = _read(npy(stored.astype(np.float32)), form=form)
    assert interpretation == Interpretation("map", form, 1.0, interpretation.sentence)
    assert interpretation.sentence.endswith("as you said")
    np.testing.assert_allclose(render_depth(value).astype(int), render_depth(metres).astype(int), atol=1)


def test_the_sentence_names_the_file_and_the_grounds() -> None:
    data = png((ROOMS[0] * 1000).astype(np.uint16))
    _, interpretation = _read(data, "room.png")
    assert interpretation.sentence == (
        "room.png is a depth map in which larger is farther: its 16 bits are not used to the end, as by sensors and "
        "its numbers are smaller at the bottom edge, which is mostly nearest"
    )


def test_a_name_counts() -> None:
    shaded = np.tile(np.arange(1, 41, dtype=np.uint8), (40, 1))  # no scene: the same from top to bottom
    assert _read(png(shaded), "scene_disparity.png")[1].form == "near-bright"
    assert _read(png(shaded), "distance.png")[1].form == "far-bright"


def test_what_was_not_measured_is_left_out() -> None:
    metres = ROOMS[0].copy()
    for mark in (1e10, -1.0, np.nan):  # the first as renderers write where no ray hits
        metres[:9] = mark
        assert np.isnan(_read(npy(metres))[0][:9]).all()
    stored = (ROOMS[0] * 1000).astype(np.uint16)
    stored[:9] = 65535
    assert np.isnan(_read(png(stored))[0][:9]).all()
    assert np.isfinite(_read(npy(-ROOMS[0]))[0]).all()  # along an axis towards the viewer


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", EmptyInput, "map is empty"),
        (npy(np.full((4, 4), np.nan)), BadMap, "no measured pixel"),
        (npy(np.zeros((4, 4))), BadMap, "no measured pixel"),
        (npy(np.full((4, 4), 7.0)), BadMap, "map is 7 wherever it was measured"),
        (png(np.full((4, 4), 9, np.uint8)), BadMap, "map is 9 wherever"),
        (npy(np.zeros((2, 2, 2))), BadMap, "height, width"),
        (_npz(a=np.ones((2, 2)), b=np.ones((2, 2))), BadMap, "map holds a.npy, b.npy; an NPZ archive with one array"),
        (_npz(depth=np.ones((2, 2, 2))), BadMap, "map: depth holds float64"),
        (_npz(depth=np.ones((2, 2)))[:-30], BadMap, "damaged NPZ"),
        (b"PK\x03\x04", BadMap, "damaged NPZ"),
        (png(np.eye(30, dtype=np.uint8)[..., None] * np.array([200, 0, 90], np.uint8)), BadMap, "in colours"),
        (b"nothing", NotAPicture, "not a picture"),
        (png(np.arange(9, dtype=np.uint8).reshape(3, 3))[:50], BrokenPicture, "damaged"),
    ],
)
def test_what_is_no_depth_map_is_one_sentence(data: bytes, error: type[DecodeError], says: str) -> None:
    with pytest.raises(error, match=says):
        _read(data)


def test_a_packed_array_may_not_be_larger_than_a_file() -> None:
    data = _npz(depth=np.zeros((500, 500)))
    with pytest.raises(TooManyBytes, match=r"depth\.npy has 2,000,128 bytes"):
        interpret("depth", data, FileLimits(bytes_per_file=1_000_000), "map")


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(UnknownForm, match="map has the form 'upside'; the forms are far-bright, near-bright, inverse"):
        _read(npy(ROOMS[0]), form="upside")
    with pytest.raises(UnknownForm, match="is rgb, which has one form only; leave out 'far-bright'"):
        interpret("rgb", png(np.zeros((4, 4, 3), np.uint8)), LIMITS, "map", form="far-bright")


def _exr(path: Path, **channels: np.ndarray) -> bytes:
    exr = pytest.importorskip("OpenEXR", reason="OpenEXR is read with the extra exr")
    with exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, channels) as file:
        file.write(str(path))
    return path.read_bytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_openexr(tmp_path: Path, dtype: type) -> None:
    grey = np.zeros_like(ROOMS[0])
    data = _exr(tmp_path / "a.exr", Z=ROOMS[0].astype(dtype), R=grey.astype(dtype))
    value, interpretation = _read(data)
    np.testing.assert_allclose(value, ROOMS[0], rtol=1e-3)
    assert interpretation.form == "far-bright"
    for size in (3, 8, 100, len(data) // 2):
        with pytest.raises(DecodeError):
            _read(data[:size])
    with pytest.raises(TooManyPixels, match="160 x 160"):
        interpret("depth", data, FileLimits(pixels=1000), "map")
    with pytest.raises(BadMap, match="map has the channels alpha; a depth map has Z, V, Y or R"):
        _read(_exr(tmp_path / "b.exr", alpha=grey))


def test_openexr_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(FormatNotInstalled, match=r"map is OpenEXR, which needs pip install 'anyseek\[exr\]'"):
        _read(b"\x76\x2f\x31\x01" + bytes(90))
