"""Parses the JSON form of a filter.

{"field": "width", "gte": 1000, "lt": 4000}        also eq, lte, gt
{"field": "label", "in": ["cat", "dog"]}
{"field": "name", "prefix": "IMG_"}
{"field": "taken", "gte": {"time": "2024-05-01"}}
{"field": "place", "box": {"south": 45.8, "west": 5.9, "north": 47.8, "east": 10.5}}
{"field": "place", "radius": {"lat": 41.9, "lon": 12.5, "km": 10}}
{"field": "@caption", "exists": true}
{"and": [...]}, {"or": [...]}, {"not": {...}}
"""

import math
from collections.abc import Mapping
from typing import Any

from anyseek.search.filters.tree import (
    DEEPEST,
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
    Scalar,
    StartsWith,
)

_SIDES = ("south", "west", "north", "east")
_RADIUS = ("lat", "lon", "km")
_OPERATORS = {operator.value: operator for operator in Operator}


def filter_from_json(members: Any) -> Filter:
    """Make a filter from parsed JSON. Raises `BadFilter`."""
    return _filter(members, 0)


def _filter(members: Any, depth: int) -> Filter:
    if depth > DEEPEST:
        raise BadFilter(f"the filter is nested more than {DEEPEST} deep")
    if not isinstance(members, Mapping) or not members:
        raise BadFilter(f'a filter must be an object such as {{"field": "width", "gte": 1000}}, not {_shown(members)}')
    if "field" in members:
        return _condition(members)
    if len(members) > 1 or not members.keys() <= {"and", "or", "not"}:
        raise BadFilter(
            f"a filter needs field, or one of and, or, not; this one has {', '.join(map(str, members))[:80]}"
        )
    (word, inner) = next(iter(members.items()))
    if word == "not":
        return Not(_filter(inner, depth + 1))
    if not isinstance(inner, list) or not inner:
        raise BadFilter(f"{word!r} in a filter takes a list of at least one filter, not {_shown(inner)}")
    parts = tuple(_filter(part, depth + 1) for part in inner)
    return And(parts) if word == "and" else Or(parts)


def _condition(members: Mapping[str, Any]) -> Filter:
    field = members["field"]
    if not isinstance(field, str) or not field:
        raise BadFilter(f"the field of a filter must be the name of an attribute, not {_shown(field)}")
    parts = [_one(field, word, value) for word, value in members.items() if word != "field"]
    if not parts:
        raise BadFilter(f"the filter on {field!r} has no condition, such as eq, in, gte, prefix, box, radius or exists")
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _one(field: str, word: str, value: Any) -> Filter:
    if word in _OPERATORS:
        return Compare(field, _OPERATORS[word], _scalar(field, value))
    match word, value:
        case "in", list() if value:
            return AnyOf(field, tuple(_scalar(field, choice) for choice in value))
        case "prefix", str():
            return StartsWith(field, value)
        case "exists", bool():
            return Exists(field) if value else Not(Exists(field))
        case "box", Mapping() if value.keys() == set(_SIDES):
            return InBox(field, *(_number(field, value[side]) for side in _SIDES))
        case "radius", Mapping() if value.keys() == set(_RADIUS):
            return InRadius(field, *(_number(field, value[name]) for name in _RADIUS))
    known = ", ".join([*_OPERATORS, "in (a list)", "prefix (a text)", "exists (true or false)", "box", "radius"])
    raise BadFilter(f"the filter on {field!r} has {word!r}: {_shown(value)}; conditions are {known}")


def _scalar(field: str, value: Any) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return _number(field, value)
    if isinstance(value, Mapping) and value.keys() == {"time"} and isinstance(value["time"], str):
        moment = Moment.parse(value["time"])
        if moment is not None:
            return moment
    raise BadFilter(
        f"{field!r} is compared with {_shown(value)}; compare it with a text, a number, true, false "
        'or {"time": "2024-05-01T12:00:00Z"}'
    )


def _number(field: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadFilter(f"{field!r} is compared with {_shown(value)}, which is not a finite number")
    return number


def _shown(value: Any) -> str:
    return repr(value)[:60]
