"""How vectors, times and long lists go into statements and come out of rows."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from model.seam import FloatArray

Value = TypeVar("Value")

# SQLite takes 32,766 variables in a statement, and long lists gain nothing.
CHUNK = 500


def to_bytes(vector: FloatArray) -> bytes:
    """float32, little-endian."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def from_bytes(data: bytes) -> FloatArray:
    """The inverse of `to_bytes`, as a flat array."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)


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
