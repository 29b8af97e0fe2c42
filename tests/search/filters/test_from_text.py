"""The written form means what the JSON form means, and says where it goes wrong."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.search.filters.from_text import filter_from_json, filter_from_text
from anyseek.search.filters.tree import (
    And,
    AnyOf,
    BadFilter,
    Compare,
    Exists,
    Filter,
    InBox,
    InRadius,
    Moment,
    Not,
    Operator,
    Or,
    StartsWith,
    checked,
)

MIDNIGHT = 1_714_521_600.0  # 2024-05-01 in UTC


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("width >= 1000", Compare("width", Operator.AT_LEAST, 1000.0)),
        ("width<5", Compare("width", Operator.LESS, 5.0)),
        ("camera.make = Nikon", Compare("camera.make", Operator.EQUAL, "Nikon")),
        ("label != cat", Not(Compare("label", Operator.EQUAL, "cat"))),
        ("label in (cat, 'big dog', 7, true)", AnyOf("label", ("cat", "big dog", 7.0, True))),
        ("label not in (cat)", Not(AnyOf("label", ("cat",)))),
        ('name starts with "IMG_"', StartsWith("name", "IMG_")),
        ("name STARTS WITH 2024", StartsWith("name", "2024")),
        ("@caption exists", Exists("@caption")),
        ("`my field` = 'it\\'s'", Compare("my field", Operator.EQUAL, "it's")),
        ("taken >= 2024-05-01", Compare("taken", Operator.AT_LEAST, Moment(MIDNIGHT))),
        ("taken < 2024-05-01T02:00:00+02:00", Compare("taken", Operator.LESS, Moment(MIDNIGHT))),
        ("place within (45.8, 5.9, 47.8, 10.5)", InBox("place", 45.8, 5.9, 47.8, 10.5)),
        ("place within 10 km of 41.9, 12.5", InRadius("place", 41.9, 12.5, 10.0)),
        ("place WITHIN 500m OF (-41.9,-12.5)", InRadius("place", -41.9, -12.5, 0.5)),
        ("home.place within 2 mi of 0, 0", InRadius("home.place", 0.0, 0.0, 3.218688)),
        ("a = 1 and b = 2 or not c = 3", Or((
            And((Compare("a", Operator.EQUAL, 1.0), Compare("b", Operator.EQUAL, 2.0))),
            Not(Compare("c", Operator.EQUAL, 3.0)),
        ))),
        ("a = 1 and (b = 2 or c = 3)", And((
            Compare("a", Operator.EQUAL, 1.0),
            Or((Compare("b", Operator.EQUAL, 2.0), Compare("c", Operator.EQUAL, 3.0))),
        ))),
        ("größe = 'ü'", Compare("größe", Operator.EQUAL, "ü")),
    ],
)  # fmt: skip
def test_what_is_written_is_meant(text: str, where: object) -> None:
    assert filter_from_text(text) == where


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends where the name of an attribute was expected"),
        ("width >=", "ends where a value for 'width' was expected"),
        ("width 5", "'5' at character 7, where a condition on 'width'"),
        ("width = 5 label = 3", "'label' at character 11, where 'and', 'or' or the end was expected"),
        ("(width = 5", "ends where ')' was expected"),
        ("and = 3", "'and' at character 1, where the name of an attribute"),
        ("label = 'open", "cannot be understood from character 9 on"),
        ("place within (1, 2, 3)", "'place' within takes four numbers"),
        ("place within (50, 2, 3, 4)", "latitudes are -90 to 90"),
        ("place within 10 of 1, 2", "'of' at character 17, where the unit of the distance: km, m or mi"),
        ("place within Rome", "'Rome' at character 14, where a distance for 'place', such as 10 km"),
        ("place within 10 km", "ends where 'of' was expected"),
        ("place within 10 km of Rome", "takes a latitude and a longitude: within 10 km of 41.9, 12.5; for a name ask"),
        ("place within 10 km of 41.9", "ends where ',' was expected"),
        ("place within 10 km of (1, 2", "ends where ')' was expected"),
        ("place within 0 km of 1, 2", "a distance is above 0 and at most 20,040 km"),
        ("place within 1 km of 91, 2", "a latitude -90 to 90"),
        ("@key within 1 km of 1, 2", "@key is a text"),
        ("x = 1e999", "too large"),
        ("(" * 40 + "a = 1" + ")" * 40, "nested more than 32 deep"),
        ("not " * 40 + "a = 1", "nested more than 32 deep"),
        ("a = 1" + " or a = 1" * 3_000, "at most 20,000"),
    ],
)
def test_a_wrong_filter_is_refused_where_it_goes_wrong(text: str, says: str) -> None:
    with pytest.raises(BadFilter, match=r".*") as refused:
        checked(filter_from_text(text))
    assert says in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    with suppress(BadFilter):
        checked(filter_from_text(text))


WORDS = st.sampled_from(["field", "and", "or", "not", "eq", "in", "box", "exists", "time"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)


@given(JSON)
def test_any_json_is_a_filter_or_is_refused(members: object) -> None:
    with suppress(BadFilter):
        checked(filter_from_json(members))


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"field": "w", "gte": 1, "lt": 5}, "w >= 1 and w < 5"),
        ({"and": [{"field": "l", "in": ["a"]}, {"not": {"field": "n", "exists": True}}]}, "l in (a) and not n exists"),
        ({"field": "n", "exists": False}, "not n exists"),
        ({"field": "t", "lte": {"time": "2024-05-01"}}, "t <= 2024-05-01"),
        ({"field": "p", "box": {"south": 1, "west": 2, "north": 3, "east": 4}}, "p within (1, 2, 3, 4)"),
        ({"field": "p", "radius": {"lat": 1, "lon": 2, "km": 3}}, "p within 3 km of 1, 2"),
        ({"or": [{"field": "n", "prefix": "ab"}, {"field": "n", "eq": "x"}]}, "n starts with ab or n = x"),
    ],
)  # fmt: skip
def test_both_forms_mean_the_same(members: object, text: str) -> None:
    assert filter_from_json(members) == filter_from_text(text)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([], "a filter must be an object"),
        ({"width": 5}, "needs field, or one of and, or, not;"),
        ({"and": []}, "takes a list of at least one filter"),
        ({"field": "w"}, "has no condition"),
        ({"field": "w", "near": 5}, "conditions are eq"),
        ({"field": "w", "radius": {"lat": 1, "lon": 2}}, "conditions are eq"),
        ({"field": "w", "radius": {"lat": 1, "lon": 2, "km": "x"}}, "not a finite number"),
        ({"field": "w", "eq": None}, "a text, a number, true, false"),
        ({"field": "w", "gt": float("nan")}, "not a finite number"),
        ({"field": 5, "eq": 5}, "the field of a filter must be the name"),
    ],
)
def test_wrong_json_is_refused(members: object, says: str) -> None:
    with pytest.raises(BadFilter) as refused:
        filter_from_json(members)
    assert says in str(refused.value)


@pytest.mark.parametrize("count", [2, 3, 30])
def test_double_negations_cancel(count: int) -> None:
    plain, members = Compare("a", Operator.EQUAL, 1.0), {"field": "a", "eq": 1}
    for _ in range(count):
        members = {"not": members}
    wanted = Not(plain) if count % 2 else plain
    assert filter_from_text("not " * count + "a = 1") == filter_from_json(members) == wanted
    assert filter_from_text("not (a != 1)") == filter_from_json({"not": {"not": {"field": "a", "eq": 1}}}) == plain


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (Compare("@height", Operator.EQUAL, "x"), "there is no field '@height'"),
        (Compare("@key", Operator.EQUAL, 5.0), "@key is a text"),
        (Compare("open", Operator.LESS, True), "which has no order"),
        (Compare("a", Operator.EQUAL, "x" * 501), "at most 500"),
        (Compare("a", Operator.EQUAL, "\0"), "NUL"),
        (Compare("\ud800", Operator.EQUAL, "x"), "cannot be the name of a field;"),
        (AnyOf("a", ("x",) * 201), "at most 200"),
        (And((And((Not(Exists("a")),)),) * 200), "has 601 conditions, ands, ors and nots; at most 600"),
    ],
)
def test_what_has_no_meaning_is_refused(where: Filter, says: str) -> None:
    with pytest.raises(BadFilter) as refused:
        checked(where)
    assert says in str(refused.value)
