"""How times and long lists go into statements and come out of rows; vectors do by `search.catalogue.vectors`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

Value = TypeVar("Value")

# SQLite takes 32,766 variables in a statement, and long lists gain nothing.
CHUNK = 500


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def utc(moment: datetime) -> datetime:
    """The time in UTC; SQLite returns times without their zone, which is always UTC here."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def chunks(values: Sequence[Value], size: int = CHUNK) -> Iterator[Sequence[Value]]:
    """`values` in pieces of `size`, as many as one statement takes."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
