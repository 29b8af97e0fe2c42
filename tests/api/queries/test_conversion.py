import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from api.contents import Upload
from api.errors import MOST_PLACES
from api.queries import wire
from api.queries.conversion import QUERY, query_from_form, read_query
from indexer.errors import InputVanished
from model.hashing import HashingEmbedder
from model.modalities.reading.errors import BadPalette, EmptyInput, NotAPicture, UnknownModality
from model.modalities.registry import MODALITIES
from model.seam import Regions
from search.errors import AnyseekError, BadInput, BadQuery, LimitExceeded
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
    return read_query({"parts": list(parts)}, LIMITS, EMBEDDER).parts


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


def test_a_file_and_bytes_of_a_caller_in_python_are_decoded_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(_png())
    (tmp_path / "words.txt").write_text(" a dog\n")
    given = (
        wire.Part("rgb", file=file),
        wire.Part("rgb", data=_png()),
        wire.Part("caption", file=tmp_path / "words.txt"),
        wire.Part("palette", data=b"#ff0000"),
    )
    read, held, words, colours = read_query(wire.Query(given), LIMITS, EMBEDDER).parts
    np.testing.assert_array_equal(read.value, held.value)  # type: ignore[arg-type]
    assert words.value == "a dog"
    np.testing.assert_array_equal(colours.value, [[255, 0, 0]])  # type: ignore[arg-type]
    with pytest.raises(InputVanished, match=r"gone\.png"):
        read_query(wire.Query([wire.Part("rgb", file=tmp_path / "gone.png")]), LIMITS, EMBEDDER)


@pytest.mark.parametrize("content", ['"/etc/passwd"', "{}", "[1]"])
def test_json_can_name_no_file_and_hold_no_bytes(content: str) -> None:
    for member in ("file", "data"):
        if member == "data" and content.startswith('"'):
            continue
        with pytest.raises(ValidationError):
            QUERY.validate_json(f'{{"parts": [{{"modality": "rgb", "{member}": {content}}}]}}')


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (wire.Query([]), "at least 1 item"),
        (wire.Query([wire.Part(text="a")], k=0), "k: Input should be greater than or equal to 1"),
        (wire.Query([wire.Part(text="a", weight=float("nan"))]), "parts.0.weight: Input should be a finite number"),
        (wire.Query([wire.Part("rgb", file=Path("a.png"), data=b"x")]), "part 1 has file and data"),
        (
            {"parts": [{"text": "a", "wait": 2}]},
            "parts.0.wait: unknown member `wait`; it takes modality, text, data, item",
        ),
        ({"parts": [{"txet": "a"}]}, "parts.0.txet: unknown member `txet`; did you mean `text`?"),
        ({"parts": "abc"}, "parts"),
        (3, "Input should be"),
    ],
)
def test_a_query_in_python_is_checked_as_one_in_json_is(query: object, says: str) -> None:
    with pytest.raises(BadQuery, match=re.escape(says)):
        read_query(query, LIMITS, EMBEDDER)


def test_queries_with_unknown_members_cost_no_schema_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    make = TypeAdapter.json_schema

    def count(kind: TypeAdapter[object]) -> dict[str, object]:
        made.append(kind)
        return make(kind)

    monkeypatch.setattr(TypeAdapter, "json_schema", count)
    for _ in range(5):
        with pytest.raises(BadQuery, match="did you mean `where`"):
            read_query({"parts": [{"text": "a"}], "wher": "a = 1"}, LIMITS, EMBEDDER)
    assert len(made) <= 1


def test_only_unknown_members_that_are_told_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def look_up(what: str, name: str, known: object) -> str:
        looked_up.append(name)
        return name

    monkeypatch.setattr("api.unknown.unknown", look_up)
    wrong = {f"wher{number}": 1 for number in range(1_000)}
    with pytest.raises(BadQuery, match="and 997 more"):
        read_query({"parts": [{"text": "a"}], **wrong}, LIMITS, EMBEDDER)
    assert looked_up == list(wrong)[:MOST_PLACES]


def test_parts_are_limited() -> None:
    with pytest.raises(LimitExceeded):
        _parts(*[{"text": "a"}] * 17)


def test_a_form_is_a_query() -> None:
    query = query_from_form(
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
    with pytest.raises(BadInput):
        query_from_form(uploads, LIMITS, EMBEDDER)


def test_what_the_model_does_not_take_is_said_before_its_file_is_looked_at() -> None:
    query = {"parts": [{"modality": "depth", "data": "AAAA"}]}
    with pytest.raises(BadQuery, match="does not take depth; it takes canny_edge, caption, color_palette, rgb"):
        read_query(query, LIMITS, HashingEmbedder())
    with pytest.raises(BadQuery, match="does not take depth"):
        query_from_form([Upload("depth", _png(), "d.png")], LIMITS, HashingEmbedder())
