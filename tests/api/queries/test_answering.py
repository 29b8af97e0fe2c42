import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from anyseek.api.contents import read_query
from anyseek.api.errors import MAX_ERRORS_SHOWN
from anyseek.api.queries.wire import query_json
from anyseek.indexer.errors import InputVanished
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Regions
from anyseek.search.errors import BadInput, BadQuery
from anyseek.search.types import Part, Query
from tests.api.queries.query_inputs import EMBEDDER, LIMITS, depth, no_pictures, picture_of, png


def _parts(*parts: dict[str, object]) -> tuple[Part, ...]:
    return read_query({"parts": list(parts)}, LIMITS, EMBEDDER, no_pictures).parts


def test_a_part_says_how_its_file_was_understood_and_is_told_otherwise() -> None:
    guessed, told, words = _parts(
        {"modality": "depth", "data": encoded(depth()), "name": "room.png"},
        {"modality": "depth", "data": encoded(depth()), "form": "near-bright"},
        {"text": "a room"},
    )
    assert words.understood is None
    assert (guessed.understood.name, guessed.understood.form) == ("room.png", "far-bright")
    assert (told.understood.form, told.understood.sure) == ("near-bright", 1.0)
    np.testing.assert_allclose(told.value, 4900 - np.asarray(guessed.value))


def test_a_box_is_a_part_of_a_picture_that_is_sent() -> None:
    data = base64.b64encode(png()).decode()
    (part,) = _parts({"modality": "rgb", "data": data, "box": [0, 0, 0.5, 1]})
    assert np.asarray(part.value).shape == (6, 4, 3)
    for wrong, says in (
        ({"text": "a", "box": [0, 0, 1, 1]}, "part 1 has a box, but neither data nor an item"),
        ({"modality": "rgb", "data": data, "box": [0, 0, 1]}, "box"),
        ({"modality": "rgb", "data": data, "box": [0, 0, 0, 1]}, "empty"),
    ):
        with pytest.raises(BadInput, match=says):
            _parts(wrong)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _mask(height: int = 6, width: int = 8) -> bytes:
    """Its left half counts."""
    values = np.zeros((height, width), np.uint8)
    values[:, : width // 2] = 1
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"text": "a", "mask": "AAAA"}, "part 1 has a mask, but neither data nor an item"),
        ({"item": "a", "mask": "AAAA", "box": [0, 0, 1, 1]}, "part 1 has a box and a mask"),
        ({"item": "a", "mask": "#"}, "the mask of part 1 is not base64"),
        ({"item": "a", "mask": "AAAA"}, "the mask of the picture of 'a' is not a picture"),
        ({"modality": "rgb", "data": encoded(png()), "mask": encoded(_mask(8, 6))}, "is 6 x 8, which are not the"),
        ({"modality": "depth", "data": encoded(depth()), "mask": encoded(_mask())}, "is depth and has a mask"),
        ({"modality": "caption", "data": "a", "mask": encoded(_mask())}, "has no mask; only a file has one"),
    ],
)
def test_a_wrong_mask_is_refused(part: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_query({"parts": [part]}, LIMITS, EMBEDDER, picture_of)


def test_each_kind_of_part_becomes_a_value() -> None:
    picture, words, colours, listed, item, bare = _parts(
        {"modality": "image", "data": base64.b64encode(png()).decode(), "weight": 0.5},
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
    np.testing.assert_array_equal(colours.value, [[255, 0, 0], [0, 255, 0]])
    np.testing.assert_array_equal(listed.value, [[0, 0, 255]])
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
    ("part", "says"),
    [
        ({"item": "a", "form": "inverse"}, "part 1 has a form, but no data"),
        ({"text": "a room", "form": "far-bright"}, "part 1 has a form, but no data"),
        ({"modality": "words", "text": "a", "form": "inverse"}, "part 1 has a form, but no data"),
        ({"item": "a", "classes": {"1": "sky"}}, "part 1 has classes, but is no file of a segmentation"),
        ({"modality": "rgb", "data": "AAAA", "classes": {"1": "sky"}}, "part 1 has classes"),
    ],
)
def test_a_member_without_effect_is_refused(part: dict[str, object], says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        _parts(part)


def test_a_file_and_bytes_of_a_caller_in_python_are_sent_as_json(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(png())
    (tmp_path / "words.txt").write_text(" a dog\n")
    parts = (
        Part("rgb", file=file),
        Part("rgb", data=png()),
        Part("caption", file=tmp_path / "words.txt"),
        Part("palette", data=b"#ff0000"),
    )
    read, held, words, colours = read_query(query_json(Query(parts), LIMITS), LIMITS, EMBEDDER, no_pictures).parts
    np.testing.assert_array_equal(read.value, held.value)
    assert words.value == "a dog"
    np.testing.assert_array_equal(colours.value, [[255, 0, 0]])
    with pytest.raises(InputVanished, match=r"gone\.png"):
        query_json(Query([Part("rgb", file=tmp_path / "gone.png")]), LIMITS)


def test_json_alone_has_no_files_and_no_values() -> None:
    with pytest.raises(BadQuery, match="part 1 names the file '/etc/passwd', but the form has no such field"):
        _parts({"modality": "rgb", "file": "/etc/passwd"})
    for wrong in ({"file": {}}, {"data": {}}, {"modality": "caption", "value": "a"}):
        with pytest.raises(BadQuery):
            _parts(wrong)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"parts": []}, "at least 1 item"),
        ({"parts": [{"text": "a"}], "offset": -1}, "offset: Input should be greater than or equal to 0"),
        ({"parts": [{"text": "a"}], "min_score": 1.5}, "min_score: Input should be less than or equal to 1"),
        ({"parts": [{"text": "a"}], "min_probability": float("nan")}, "min_probability: Input should be a finite"),
        ({"parts": [{"text": "a", "weight": float("nan")}]}, "parts.0.weight: Input should be a finite number"),
        ({"parts": [{"modality": "rgb", "file": "a", "data": "AAAA"}]}, "part 1 has file and data"),
        (
            {"parts": [{"text": "a", "wait": 2}]},
            "parts.0.wait: unknown member `wait`; it takes modality, text, file, data, item",
        ),
        ({"parts": [{"txet": "a"}]}, "parts.0.txet: unknown member `txet`; did you mean `text`?"),
        ({"parts": "abc"}, "parts"),
        (3, "Input should be"),
    ],
)
def test_a_wrong_query_is_refused(query: object, says: str) -> None:
    with pytest.raises(BadQuery, match=re.escape(says)):
        read_query(query, LIMITS, EMBEDDER, no_pictures)


def test_queries_with_unknown_members_cost_no_schema_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    make = TypeAdapter.json_schema

    def count(kind: TypeAdapter[object]) -> dict[str, object]:
        made.append(kind)
        return make(kind)

    monkeypatch.setattr(TypeAdapter, "json_schema", count)
    for _ in range(5):
        with pytest.raises(BadQuery, match="did you mean `where`"):
            read_query({"parts": [{"text": "a"}], "wher": "a = 1"}, LIMITS, EMBEDDER, no_pictures)
    assert len(made) <= 1


def test_only_unknown_members_that_are_told_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def look_up(what: str, name: str, known: object) -> str:
        looked_up.append(name)
        return name

    monkeypatch.setattr("anyseek.api.http.did_you_mean.unknown", look_up)
    wrong = {f"wher{number}": 1 for number in range(1_000)}
    with pytest.raises(BadQuery, match="and 997 more"):
        read_query({"parts": [{"text": "a"}], **wrong}, LIMITS, EMBEDDER, no_pictures)
    assert looked_up == list(wrong)[:MAX_ERRORS_SHOWN]


def test_what_the_model_does_not_take_is_said_before_its_file_is_looked_at() -> None:
    query = {"parts": [{"modality": "depth", "data": "AAAA"}]}
    with pytest.raises(BadQuery, match="does not take depth; it takes canny_edge, caption, color_palette, rgb"):
        read_query(query, LIMITS, HashingEmbedder(), no_pictures)
