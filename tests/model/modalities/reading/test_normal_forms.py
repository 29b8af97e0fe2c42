"""Surface normals with axes any way round, made from rooms whose normals are known."""

import numpy as np
import pytest

from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.reading.decode import decode_file, interpret
from anyseek.model.modalities.reading.encoded import FileLimits, Interpretation
from anyseek.model.modalities.reading.errors import BadMap, DecodeError, EmptyInput, UnknownForm
from anyseek.model.modalities.reading.map_forms import NORMAL_FORMS
from tests.model.modalities.files import npy, png

LIMITS = FileLimits()
ROOMS = [
    np.asarray(decode_file("normal", FOLDER / view["modalities"]["normal"], LIMITS)) for view in read_views()[::150]
]


def _read(data: bytes, form: str | None = None) -> tuple[np.ndarray, Interpretation]:
    reading = interpret("normal", data, LIMITS, "map", form=form)
    return np.asarray(reading.value), reading.interpretation


def _turned(normals: np.ndarray, form: str) -> np.ndarray:
    """The vectors (H, W, 3) in [-1, 1] as `form` has them."""
    signs = [1 if word in ("right", "up", "viewer") else -1 for word in form.split("-")]
    return np.asarray((normals / 127.5 - 1) * signs)


@pytest.mark.parametrize("form", NORMAL_FORMS)
def test_every_convention_is_guessed_and_read(form: str) -> None:
    for normals in ROOMS:
        vectors = _turned(normals, form)
        written = (
            png(np.rint((vectors + 1) * 127.5).astype(np.uint8)),
            npy(vectors.astype(np.float32)),
            npy((vectors + 1) / 2),
            npy(np.rint((vectors + 1) * 32767.5).astype(np.uint16)),
            npy(np.moveaxis(vectors, 2, 0)),
        )
        for data in written:
            value, interpretation = _read(data)
            assert interpretation.form == form
            assert 0.5 < interpretation.sure < 1
            assert np.abs(value.astype(int) - normals).max() <= 3
            assert _read(data, form)[1].sure == 1


def test_a_map_in_the_form_of_items_stays_bit_for_bit() -> None:
    value, interpretation = _read(png(ROOMS[0]))
    np.testing.assert_array_equal(value, ROOMS[0])
    assert interpretation.sentence.startswith(
        "map has normals whose x, y and z point right, up, viewer: what a camera sees"
    )


def test_what_has_no_normal_is_left_in_the_middle() -> None:
    vectors = _turned(ROOMS[0], "right-down-away")
    vectors[:9], vectors[9:12] = 0, np.nan
    value, interpretation = _read(npy(vectors))
    assert interpretation.form == "right-down-away"
    assert set(np.unique(value[:12])) == {128}


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"", EmptyInput, "map is empty"),
        (npy(np.full((4, 4, 3), np.nan)), BadMap, "holds no normals"),
        (npy(np.zeros((4, 4, 3))), BadMap, "holds no normals"),
        (npy(np.zeros((4, 4, 2))), BadMap, "map has 2 numbers a pixel; a normal has three"),
        (npy(np.zeros((4, 4))), BadMap, "height, width, channels"),
        (png(np.zeros((4, 4), np.uint8)), BadMap, "kind L; normals have three numbers a pixel"),
        (png(np.full((4, 4, 3), 255, np.uint8)), BadMap, "no vectors of length 1"),
    ],
)
def test_what_is_no_map_of_normals_is_one_sentence(data: bytes, error: type[DecodeError], says: str) -> None:
    with pytest.raises(error, match=says):
        _read(data)


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(UnknownForm, match="the forms are right-up-viewer, right-up-away"):
        _read(png(ROOMS[0]), "opengl")
