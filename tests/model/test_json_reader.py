"""JSON is measured before it is made into values, and whatever is said of its size is true."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.errors import BadInput
from anyseek.model.json_reader import (
    DEEPEST,
    JsonLimits,
    JsonTooDeep,
    JsonTooLarge,
    NotJson,
    check_shape,
    check_unicode,
    read_json,
)

texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(['"', "\\", '\\"', "[{", '"data":"', "data"])
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=30,
)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


@given(documents, st.booleans(), st.integers(0, 3))
def test_json_is_read_as_it_was_written(value: Any, ascii_only: bool, uploads: int) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert read_json(data, JsonLimits(uploads=uploads), "x") == value


@given(documents, st.integers(0, 3))
def test_no_text_hides_depth_or_values(value: Any, uploads: int) -> None:
    for inner in (value, [value] * 3, {"data": '\\"', "then": value}, {"data": '"', "picture": [value]}):
        nested = inner
        for _ in range(DEEPEST + 1 - _depth(inner)):
            nested = [nested]
        with pytest.raises(JsonTooDeep):
            check_shape(json.dumps(nested).encode(), JsonLimits(uploads=uploads), "x")
        wide = json.dumps([inner] + [0] * 100).encode()
        with pytest.raises(JsonTooLarge, match="values"):
            check_shape(wide, JsonLimits(values=99, uploads=uploads), "x")


def test_wide_is_not_deep() -> None:
    wide = [[[number]] for number in range(10 * DEEPEST)]
    assert read_json(json.dumps(wide).encode(), JsonLimits(), "x") == wide


def test_only_files_may_be_large() -> None:
    most = JsonLimits(size=1_000, uploads=2)
    upload = "A" * 10_000
    assert read_json(json.dumps({"data": upload, "picture": upload}).encode(), most, "x")["data"] == upload
    for value in ({"text": upload}, {"data": upload, "text": upload}, [{"data": upload}] * 3, {upload: 1}):
        with pytest.raises(JsonTooLarge, match=r"has [0-9,]+ bytes of JSON beside its files; at most 1,000 are"):
            read_json(json.dumps(value).encode(), most, "x")


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 101 + b"]" * 101])
def test_what_is_nested_too_deeply_is_one_sentence(deep: bytes) -> None:
    with pytest.raises(JsonTooDeep, match=r"x is nested [0-9,]+ deep; at most 100 are taken"):
        read_json(deep, JsonLimits(), "x")


def test_refusing_many_values_makes_none_of_them() -> None:
    data = b'{"where": {"and": [' + b"{}," * 300_000 + b"{}]}}"
    tracemalloc.start()
    with pytest.raises(JsonTooLarge, match="values"):
        read_json(data, JsonLimits(), "x")
    assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'"\xed\xa0\x80"', "byte 1 is not UTF-8"),
        (b"[NaN]", "NaN is not a number that JSON allows"),
        (b"-Infinity", "not a number"),
        (b'{"data": "abc', "Unterminated"),
        (b'{"data": "abc\\', "Unterminated"),
    ],
)
def test_what_is_not_json_says_why(data: bytes, said: str) -> None:
    with pytest.raises(NotJson, match=rf"x is not JSON: .*{said}"):
        read_json(data, JsonLimits(uploads=3), "x")


def test_numbers_of_any_width_are_numbers() -> None:
    assert read_json(b"[" + b"9" * 400 + b", -" + b"9" * 5_000 + b", 1e999]", JsonLimits(), "x") == [
        10**400 - 1,
        float("-inf"),
        float("inf"),
    ]


@pytest.mark.parametrize("value", ["\ud800", {"a": ["b", {"\udfff": 1}]}, ["\ud83d", "\ude00"]])
def test_half_a_character_is_refused_wherever_it_is(value: Any) -> None:
    read = read_json(json.dumps(value).encode(), JsonLimits(), "x")
    with pytest.raises(BadInput, match="x has a text with an unpaired surrogate"):
        check_unicode(read, "x")
    check_unicode({"a": ["😀", "\0", 1, None]}, "x")
