import io

import numpy as np
import pytest

from anyseek.api.contents import Upload
from anyseek.api.queries.forms import query_from_form
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.modalities.reading.errors import UnknownForm
from anyseek.search.errors import BadInput, BadQuery
from tests.api.queries.asking import EMBEDDER, LIMITS, depth, no_pictures, picture_of, png


def test_a_box_of_a_form_is_of_its_pictures_or_else_of_its_items() -> None:
    box, item, picture = Upload("box", "[0, 0, 0.5, 1]"), Upload("item:2", "a"), Upload("image", png(), "b.png")
    (alone,) = query_from_form([item, box], LIMITS, EMBEDDER, picture_of).parts
    assert (alone.modality, alone.weight, np.shape(alone.value)) == ("rgb", 2.0, (6, 4, 3))  # type: ignore[arg-type]
    whole, part = query_from_form([item, picture, box], LIMITS, EMBEDDER, no_pictures).parts
    assert (whole.item, np.shape(part.value)) == ("a", (6, 4, 3))  # type: ignore[arg-type]


def _mask() -> bytes:
    file = io.BytesIO()
    np.save(file, np.eye(6, 8, dtype=np.uint8)[:, :8] + np.eye(6, 8, 1, dtype=np.uint8))
    return file.getvalue()


def test_a_mask_of_a_form_is_of_its_pictures_or_else_of_its_items() -> None:
    mask, item, picture = Upload("mask", _mask(), "m.npy"), Upload("item:2", "a"), Upload("image", png(), "b.png")
    (alone,) = query_from_form([item, mask], LIMITS, EMBEDDER, picture_of).parts
    assert (alone.modality, alone.weight, np.shape(alone.value)) == ("rgb", 2.0, (6, 7, 3))  # type: ignore[arg-type]
    whole, part = query_from_form([item, picture, mask], LIMITS, EMBEDDER, no_pictures).parts
    assert (whole.item, np.shape(part.value)) == ("a", (6, 7, 3))  # type: ignore[arg-type]
    for wrong, says in (
        ([mask, mask, item], "the field mask twice"),
        ([Upload("mask", "a"), item], "the field mask is a text"),
        ([mask, Upload("box", "[0, 0, 1, 1]"), item], "a box and a mask"),
        ([mask, Upload("caption", "a")], "a mask, but neither a picture nor an item"),
    ):
        with pytest.raises(BadQuery, match=says):
            query_from_form(wrong, LIMITS, EMBEDDER, picture_of)


def test_forms_of_a_form_are_by_modality() -> None:
    uploads = [Upload("depth", depth(), "d.png"), Upload("forms", '{"depth": "near-bright"}')]
    (part,) = query_from_form(uploads, LIMITS, EMBEDDER, no_pictures).parts
    assert part.understood is not None
    assert part.understood.form == "near-bright"
    for wrong in ("[]", '{"depth": 1}'):
        with pytest.raises(BadQuery, match="forms must be an object such as"):
            query_from_form([uploads[0], Upload("forms", wrong)], LIMITS, EMBEDDER, no_pictures)
    with pytest.raises(UnknownForm, match=r"d\.png has the form 'red'; the forms are far-bright"):
        query_from_form([uploads[0], Upload("forms", '{"depth": "red"}')], LIMITS, EMBEDDER, no_pictures)


def test_a_form_is_a_query() -> None:
    query = query_from_form(
        [
            Upload("rgb:-0.5", png(), "red.png"),
            Upload("caption", "dog"),
            Upload("item:2", "x/y"),
            Upload("k", "3"),
            Upload("space", "s"),
        ],
        LIMITS,
        EMBEDDER,
        no_pictures,
    )
    assert (query.k, query.space) == (3, "s")
    assert [(part.modality, part.item, part.weight) for part in query.parts] == [
        ("rgb", None, -0.5),
        ("caption", None, 1.0),
        (None, "x/y", 2.0),
    ]


@pytest.mark.parametrize(
    "uploads",
    [
        [],
        [Upload("k", "3")],
        [Upload("caption", "a"), Upload("k", "0")],
        [Upload("caption", "a"), Upload("k", "10001")],
        [Upload("caption", "a"), Upload("k", "³")],
        [Upload("caption:heavy", "a")],
        [Upload("caption:" + "9" * 400, "a")],
        [Upload("caption", "a"), Upload("fusion", "early")],
        [Upload("caption", "a"), Upload("classes", "{")],
        [Upload("caption", "a"), Upload("classes", "[]")],
        [Upload("rgb", "a text")],
        [Upload("caption", "a"), Upload("box", "[0, 0, 1, 1]")],
        [Upload("rgb", png()), Upload("box", "[0, 0, 1]")],
        [Upload("rgb", png()), Upload("box", "0 0 1 1")],
        [Upload("rgb", png()), Upload("box", "[0.5, 0, 0.5, 1]")],
    ],
)
def test_a_wrong_form_is_refused(uploads: list[Upload]) -> None:
    with pytest.raises(BadInput):
        query_from_form(uploads, LIMITS, EMBEDDER, no_pictures)


def test_what_the_model_does_not_take_is_said_before_its_file_is_looked_at() -> None:
    with pytest.raises(BadQuery, match="does not take depth"):
        query_from_form([Upload("depth", png(), "d.png")], LIMITS, HashingEmbedder(), no_pictures)


def test_what_is_said_of_files_that_are_not_there_is_refused() -> None:
    words, item, picture = Upload("caption", "a"), Upload("item", "a"), Upload("rgb", png(), "a.png")
    for others in ([words], [item], [picture]):
        with pytest.raises(BadQuery, match="the form has classes, but no file of a segmentation"):
            query_from_form([*others, Upload("classes", '{"1": "sky"}')], LIMITS, EMBEDDER, no_pictures)
        with pytest.raises(BadQuery, match="the field forms says something of depth, of which the form has no file"):
            query_from_form([*others, Upload("forms", '{"depth": "inverse"}')], LIMITS, EMBEDDER, no_pictures)
