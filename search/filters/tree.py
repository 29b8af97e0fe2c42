"""A query's filter as a tree of conditions on attributes.

A field is the path of an attribute with dots between its steps (`camera.make`), `@key` or `@caption`. For a list, a
condition holds if any element satisfies it. It never holds if the field is missing or of another type than the value,
so `not (width = 5)` also holds for items without a width.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from anyseek.search.errors import BadQuery
from anyseek.search.filters.spheres import MAX_RADIUS_KM

KEY, CAPTION = "@key", "@caption"
MAX_PATH_LENGTH = 200
MAX_TEXT_LENGTH = 500
MAX_CONDITIONS = 200
MAX_NODES = 600  # conditions, ands, ors and nots
DEEPEST = 32
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class BadFilter(BadQuery):
    """Raised for an invalid filter; the message says where the error is."""

    code = "bad-filter"


class Operator(StrEnum):
    """Comparison operators, with their names in the JSON form."""

    EQUAL = "eq"
    LESS = "lt"
    AT_MOST = "lte"
    GREATER = "gt"
    AT_LEAST = "gte"


@dataclass(frozen=True)
class Moment:
    """A point in time. Attributes hold times as ISO 8601 texts; a time without a zone is UTC."""

    seconds: float  # since 1970 in UTC

    @classmethod
    def parse(cls, text: str) -> "Moment | None":
        """The moment of an ISO 8601 date or time, None for any other text."""
        if not text[:4].isdigit():
            return None
        try:
            moment = datetime.fromisoformat(text)
            return cls((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            return None


Scalar = bool | float | str | Moment


@dataclass(frozen=True)
class Compare:
    """The field compares to a value as the operator says; only numbers, texts and moments are ordered.

    Texts are ordered by code point.
    """

    field: str
    operator: Operator
    value: Scalar


@dataclass(frozen=True)
class AnyOf:
    """The field is equal to one of the values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class StartsWith:
    """The field is a text with this prefix."""

    field: str
    prefix: str


@dataclass(frozen=True)
class Exists:
    """The field is present and not null."""

    field: str


@dataclass(frozen=True)
class InBox:
    """The field is an object with `lat` and `lon` in degrees inside a box, borders included.

    A box whose west is greater than its east crosses the 180th meridian.
    """

    field: str
    south: float
    west: float
    north: float
    east: float

    def __post_init__(self) -> None:
        is_valid = -90 <= self.south <= self.north <= 90 and -180 <= self.west <= 180 and -180 <= self.east <= 180
        if not is_valid:
            raise BadFilter(
                f"the box of {self.field!r} is south {self.south:g}, west {self.west:g}, north {self.north:g}, "
                f"east {self.east:g}; latitudes are -90 to 90 with south below north, longitudes -180 to 180"
            )


@dataclass(frozen=True)
class InRadius:
    """The field is an object with `lat` and `lon` in degrees, at most `km` kilometres from a point."""

    field: str
    lat: float
    lon: float
    km: float

    def __post_init__(self) -> None:
        if not (-90 <= self.lat <= 90 and -180 <= self.lon <= 180 and 0 < self.km <= MAX_RADIUS_KM):
            raise BadFilter(
                f"{self.field!r} within {self.km:g} km of {self.lat:g}, {self.lon:g} is invalid; a distance is above 0 "
                f"and at most {MAX_RADIUS_KM:,.0f} km, a latitude -90 to 90, a longitude -180 to 180"
            )


@dataclass(frozen=True)
class And:
    """All of the parts hold."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class Or:
    """One of the parts holds."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: "Filter"


Condition = Compare | AnyOf | StartsWith | Exists | InBox | InRadius
Filter = Condition | And | Or | Not


def negated(where: Filter) -> Filter:
    """Return the opposite of a filter; a double negation cancels."""
    return where.part if isinstance(where, Not) else Not(where)


def name_of(where: Filter) -> str:
    """Return a name of the filter for error messages, by the field of its first condition."""
    first, *rest = conditions(where)
    suffix = f" with {len(rest)} more conditions" if rest else ""
    return f"the filter on {first.field[:60]!r}{suffix}"


def checked(where: Filter) -> Filter:
    """Return the filter if it is valid.

    Raises `BadFilter` for too many conditions or nodes, an invalid field, a text that is too long or not storable, or a
    meaningless comparison.
    """
    all_conditions = list(conditions(where))
    if (count := count_conditions(where)) > MAX_CONDITIONS:
        raise BadFilter(f"the filter has {count} conditions; at most {MAX_CONDITIONS} are allowed")
    if (nodes := _count_nodes(where)) > MAX_NODES:
        raise BadFilter(f"the filter has {nodes} conditions, ands, ors and nots; at most {MAX_NODES} are allowed")
    for condition in all_conditions:
        _check_field(condition)
        for value in values_of(condition):
            _check_value(condition, value)
    return where


def values_of(condition: Condition) -> tuple[Scalar, ...]:
    """Return the values that the field is compared with."""
    match condition:
        case Compare(_, _, value):
            return (value,)
        case AnyOf(_, values):
            return values
        case StartsWith(_, prefix):
            return (prefix,)
        case _:
            return ()


def conditions(where: Filter) -> Iterator[Condition]:
    """All conditions of a filter, from left to right."""
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from conditions(part)
        case Not(part):
            yield from conditions(part)
        case _:
            yield where


def count_conditions(where: Filter) -> int:
    """Return the number of conditions, counting each value of an `AnyOf`."""
    return sum(len(condition.values) if isinstance(condition, AnyOf) else 1 for condition in conditions(where))


def _count_nodes(where: Filter) -> int:
    match where:
        case And(parts) | Or(parts):
            return 1 + sum(map(_count_nodes, parts))
        case Not(part):
            return 1 + _count_nodes(part)
        case _:
            return 1


def _check_field(condition: Condition) -> None:
    field = condition.field
    if not 1 <= len(field) <= MAX_PATH_LENGTH or not is_storable(field):
        raise BadFilter(
            f"{field[:60]!r} cannot be the name of a field; use 1 to {MAX_PATH_LENGTH} characters of Unicode text"
        )
    if not field.startswith("@"):
        return
    if field not in (KEY, CAPTION):
        raise BadFilter(f"there is no field {field!r}; use {KEY}, {CAPTION} or the name of an attribute")
    texts = all(isinstance(value, str) for value in values_of(condition))
    if isinstance(condition, InBox | InRadius) or not texts:
        raise BadFilter(f"{field} is a text; compare it with texts")


def _check_value(condition: Condition, value: Scalar) -> None:
    field = condition.field
    if isinstance(value, bool) and isinstance(condition, Compare) and condition.operator is not Operator.EQUAL:
        raise BadFilter(f"{field!r} is compared with {str(value).lower()}, which has no order; use = or in")
    if not isinstance(value, str):
        return
    if len(value) > MAX_TEXT_LENGTH:
        raise BadFilter(
            f"{field!r} is compared with a text of {len(value):,} characters; at most {MAX_TEXT_LENGTH} are allowed"
        )
    if not is_storable(value):
        raise BadFilter(f"{field!r} is compared with a text that holds a NUL or an unpaired surrogate")


def is_storable(text: str) -> bool:
    """True if a text has neither a NUL nor an unpaired surrogate (as in file names that are not UTF-8)."""
    return _UNSTORABLE.search(text) is None
