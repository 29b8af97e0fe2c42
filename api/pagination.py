"""Listings: which items they have, how long a page may be, and what a caller sends to get the next page."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from pydantic import Field

from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter, checked

T = TypeVar("T")
Cursor = TypeVar("Cursor", int, str)

# A number of a row: databases number with 64 bits.
Number = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1)]
# What a caller may send, and the last member of every page.
Limit = Annotated[int, Field(ge=1, le=1000, description="how many at most")]
Next = Annotated[
    Cursor | None,
    Field(description="send it as `after`, of jobs as `before`, for the page that follows; null at the end"),
]


def passing(where: str | None) -> Filter | None:
    """The filter of a listing or a count, as it was written; None where all items count. Raises `BadFilter`."""
    return None if where is None else checked(filter_from_text(where))


def following(found: Sequence[T], limit: int, cursor: Callable[[T], Cursor]) -> Cursor | None:
    """Where the page after `found` begins; None if `found` is shorter than `limit` and therefore the last."""
    return cursor(found[-1]) if len(found) == limit else None
