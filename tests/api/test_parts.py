import base64
import io

import numpy as np
import pytest
from PIL import Image

from api.parts import Upload, query_from_json, query_from_uploads
from api.schemas import QueryBody
from indexer.errors import BadPalette, EmptyInput, NotAPicture, UnknownModality
from model.embedder import Regions
from model.hashing_embedder import HashingEmbedder
from model.modality import MODALITIES
from search.errors import AnyseekError, BadQuery, LimitExceeded
from search.settings import Limits
from search.types import Part

LIMITS = Limits()


class TakesEverything(HashingEmbedder):
    modalities = frozenset(MODALITIES)


EMBEDDER = TakesEverything()


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(file, "PNG")
    return file.getvalue()


def _parts(*parts: dict[str, object]) -> tuple[Part, ...]:
    return query_from_json(QueryBody.model_validate({"parts": list(parts)}), LIMITS, EMBEDDER).parts


def test_each_kind_of_part_becomes_a_value() -> None:
    picture, words, colours, listed, item, bare = _parts(
        {"modality": "image", "data": base64.b64encode(_png()).decode(), "weight": 0.5},
        {"modality": "caption", "data": " a dog "},
        {"modality": "palette", "text": "#ff0000, #00ff00"},
        {"modality": "color_palette", "data": ["#0000ff"]},
        {"item": "a:b", "weight": -1},
        {"text": "no modality means words"},
    )
    assert (picture.modality, picture.weight) == ("rgb", 0.5)
    assert isinstance(picture.value, np.ndarray)
    assert picture.value.shape == (6, 8, 3)
    assert (words.modality, words.value) == ("caption", "a dog")
    np.testing.assert_array_equal(colours.value, [[255, 0, 0], [0, 255, 0]])  # type: ignore[arg-type]
    np.testing.assert_array_equal(listed.value, [[0, 0, 255]])  # type: ignore[arg-type]
    assert item == Part(item="a:b", weight=-1)
    assert (bare.modality, bare.value) == ("caption", "no modality means words")


def test_classes_name_the_ids_of_a_segmentation_map() -> None:
    file = io.BytesIO()
    Image.new("L", (4, 4), 1).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    (part,) = _parts({"modality": "semseg", "data": data, "classes": {"1": "sky"}})
    assert isinstance(part.value, Regions)
    assert part.value.classes == {1: "sky"}


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ({"modality": "caption"}, BadQuery),
        ({"modality": "caption", "text": "a", "item": "b"}, BadQuery),
        ({"data": "AAAA"}, BadQuery),
        ({"modality": "rgb", "text": "a"}, BadQuery),
        ({"modality": "rgb", "data": "not base64!"}, BadQuery),
        ({"modality": "rgb", "data": "AAAA"}, NotAPicture),
        ({"modality": "caption", "text": "  "}, EmptyInput),
        ({"modality": "palette", "text": "red"}, BadPalette),
        ({"modality": "smell", "text": "red"}, UnknownModality),
    ],
)
def test_a_wrong_part_is_refused(part: dict[str, object], error: type[AnyseekError]) -> None:
    with pytest.raises(error):
        _parts(part)


def test_errors_call_a_file_by_its_name() -> None:
    with pytest.raises(NotAPicture, match=r"holiday\.png"):
        _parts({"modality": "rgb", "data": "AAAA", "name": "holiday.png"})


def test_parts_are_limited() -> None:
    with pytest.raises(LimitExceeded):
        _parts(*[{"text": "a"}] * 17)


def test_a_form_is_a_query() -> None:
    query = query_from_uploads(
        [
            Upload("rgb:-0.5", _png(), "red.png"),
            Upload("caption", "dog"),
            Upload("item:2", "x/y"),
            Upload("k", "3"),
            Upload("space", "s"),
        ],
        LIMITS,
        EMBEDDER,
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
        [Upload("caption", "a"), Upload("fusion", "guided")],
        [Upload("caption", "a"), Upload("classes", "{")],
        [Upload("caption", "a"), Upload("classes", "[]")],
        [Upload("rgb", "a text")],
    ],
)
def test_a_wrong_form_is_refused(uploads: list[Upload]) -> None:
    with pytest.raises(BadQuery):
        query_from_uploads(uploads, LIMITS, EMBEDDER)


def test_what_the_model_does_not_take_is_said_before_its_file_is_looked_at() -> None:
    body = QueryBody.model_validate({"parts": [{"modality": "depth", "data": "AAAA"}]})
    with pytest.raises(BadQuery, match="does not take depth; it takes canny_edge, caption, color_palette, rgb"):
        query_from_json(body, LIMITS, HashingEmbedder())
    with pytest.raises(BadQuery, match="does not take depth"):
        query_from_uploads([Upload("depth", _png(), "d.png")], LIMITS, HashingEmbedder())
