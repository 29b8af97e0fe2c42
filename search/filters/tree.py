"""A query's filter as a tree of conditions on attributes.

A field is the path of an attribute with dots between its steps (`camera.make`), `@key` or `@caption`. If an attribute
is a list, a condition holds if it holds for one of the elements. It never holds if the field is missing or is of
another type than the value it is compared with. So `not (width = 5)` also holds for items without a width.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from anyseek.search.errors import BadQuery
from anyseek.search.filters.spheres import LONGEST_KM

KEY, CAPTION = "@key", "@caption"
LONGEST_PATH = 200
LONGEST_TEXT = 500
MOST_CONDITIONS = 200
MOST_NODES = 600  # conditions, and what joins or inverts them
DEEPEST = 32
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class BadFilter(BadQuery):
    """A filter that cannot be understood; says where it goes wrong."""

    code = "bad-filter"


class Operator(StrEnum):
    """How a field is compared with a value; the words are those of the JSON form."""

    EQUAL = "eq"
    LESS = "lt"
    AT_MOST = "lte"
    GREATER = "gt"
    AT_LEAST = "gte"


@dataclass(frozen=True)
class Moment:
    """A point in time. Attributes hold times as ISO 8601 texts; one without a zone is taken for UTC."""

    seconds: float  # since 1970 in UTC

    @classmethod
    def parse(cls, text: str) -> "Moment | None":
        """The moment of an ISO 8601 date or time, None for any other text."""
        if not text[:4].isdigit():
            return None
        try:
            found = datetime.fromisoformat(text)
            return cls((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            return None


Scalar = bool | float | str | Moment


@dataclass(frozen=True)
class Compare:
    """The field is equal to a value, or a number, text or moment beside it in the given order.

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
    """The field is a text that starts with a prefix."""

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
        sound = -90 <= self.south <= self.north <= 90 and -180 <= self.west <= 180 and -180 <= self.east <= 180
        if not sound:
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
        if not (-90 <= self.lat <= 90 and -180 <= self.lon <= 180 and 0 < self.km <= LONGEST_KM):
            raise BadFilter(
                f"{self.field!r} is to be within {self.km:g} km of {self.lat:g}, {self.lon:g}; a distance is above 0 "
                f"and at most {LONGEST_KM:,.0f} km, a latitude -90 to 90, a longitude -180 to 180"
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
    """Return what an error calls a filter: by the field of its first condition."""
    first, *others = conditions(where)
    more = f" with {len(others)} more conditions" if others else ""
    return f"the filter on {first.field[:60]!r}{more}"


def checked(where: Filter) -> Filter:
    """Return the filter if it is valid.

    Raises `BadFilter` for too many conditions or nodes, an invalid field, a text that is too long or not storable, and
    a comparison that has no meaning.
    """
    every = list(conditions(where))
    if (count := count_conditions(where)) > MOST_CONDITIONS:
        raise BadFilter(f"the filter has {count} conditions; at most {MOST_CONDITIONS} are allowed")
    if (nodes := _count_nodes(where)) > MOST_NODES:
        raise BadFilter(f"the filter has {nodes} conditions, ands, ors and nots; at most {MOST_NODES} are allowed")
    for condition in every:
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
    """Every condition of a filter, from left to right."""
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from conditions(part)
        case Not(part):
            yield from conditions(part)
        case _:
            yield where


def count_conditions(where: Filter) -> int:
    """Return the number of values that fields are compared with, and of other conditions."""
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
    if not 1 <= len(field) <= LONGEST_PATH or not is_storable(field):
        raise BadFilter(
            f"{field[:60]!r} cannot be the name of a field; use 1 to {LONGEST_PATH} characters of Unicode text"
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
    if len(value) > LONGEST_TEXT:
        raise BadFilter(
            f"{field!r} is compared with a text of {len(value):,} characters; at most {LONGEST_TEXT} are allowed"
        )
    if not is_storable(value):
        raise BadFilter(f"{field!r} is compared with a text that holds a NUL or an unpaired surrogate")


def is_storable(text: str) -> bool:
    """Whether a text has neither a NUL nor half of a surrogate pair (as in file names that are not UTF-8)."""
    return _UNSTORABLE.search(text) is None
