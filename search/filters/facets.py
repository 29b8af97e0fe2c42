"""Flattens the attributes of an item into facets, one per value, for filter conditions to match."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from anyseek.search.filters.tree import MAX_PATH_LENGTH, MAX_TEXT_LENGTH, Moment
from anyseek.search.types import Attributes

# Further facets are not indexed: users filter by only a few of an item's attributes.
MAX_FACETS = 1_000

# PostgreSQL's texts cannot hold a NUL, which JSON can.
_NUL, _REPLACEMENT = "\0", "\N{REPLACEMENT CHARACTER}"


class Facet(NamedTuple):
    """One value with its path; a text that is an ISO 8601 time is also a moment.

    `text` is cut to one character more than a filter's longest text, so equality stays exact. A tuple, because the
    facets of all items are compared.
    """

    path: str
    number: float | None = None
    text: str | None = None
    truth: bool | None = None
    moment: float | None = None


def facets_of(attributes: Attributes) -> list[Facet]:
    """Return the facets of an item in the order of its attributes, without duplicates, at most `MAX_FACETS`."""
    facets: dict[Facet, None] = {}
    for facet in _walk("", attributes):
        facets[facet] = None
        if len(facets) == MAX_FACETS:
            break
    return list(facets)


def join_path(path: str, name: str) -> str:
    """Return the path of a member of the object at `path`, which is empty for the top level."""
    step = name.replace(_NUL, _REPLACEMENT)
    return f"{path}.{step}" if path else step


def _walk(path: str, value: Any) -> Iterator[Facet]:
    if len(path) > MAX_PATH_LENGTH:  # too long for a filter
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(join_path(path, name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(path, inner)
    elif value is not None:
        yield _leaf(path, value)


def _leaf(path: str, value: bool | float | str) -> Facet:
    if isinstance(value, bool):
        return Facet(path, truth=value)
    if isinstance(value, int | float):
        return Facet(path, number=as_float(value))
    moment = Moment.parse(value)
    text = value[: MAX_TEXT_LENGTH + 1].replace(_NUL, _REPLACEMENT)
    return Facet(path, text=text, moment=None if moment is None else moment.seconds)


def as_float(value: float) -> float:
    """Convert a number to a float; integers too large for one become the largest float, which keeps their order."""
    try:
        return float(value)
    except OverflowError:
        return float("1.7e308") if value > 0 else float("-1.7e308")
