"""Conversions of times, vectors and long lists of values between Python and SQL."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    any_,
    func,
    literal,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

if TYPE_CHECKING:
    from anyseek.model.seam import FloatArray

Value = TypeVar("Value")
Columns = TypeVarTuple("Columns")

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


def rows_in(
    session: Session, statement: "Select[*Columns]", column: InstrumentedAttribute[Any], values: Sequence[Any]
) -> "Iterator[Row[*Columns]]":
    """The rows of a select whose `column` has one of any number of `values`."""
    for some in chunks(values):
        yield from session.execute(statement.where(column.in_(some)))


def among(
    session: Session, column: ColumnElement[int] | InstrumentedAttribute[int], ids: Sequence[int]
) -> ColumnElement[bool]:
    """The condition that `column` is one of any number of `ids`, all of which are one parameter."""
    if session.get_bind().dialect.name == "sqlite":
        return column.in_(select(func.json_each(json.dumps(ids)).table_valued("value").c.value))
    return column == any_(literal(list(ids), ARRAY(BigInteger)))


def to_bytes(vector: "FloatArray") -> bytes:
    """The vector as stored: float32, little-endian."""
    import numpy as np  # here, so that a command without vectors starts without NumPy

    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def from_bytes(data: bytes) -> "FloatArray":
    """The inverse of `to_bytes`, as a flat array."""
    import numpy as np

    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)


_Compiled = tuple[str, tuple[str, ...], bool]  # the text, the names of its parameters, whether they are given by place


class Lookup:
    """The rows of a select whose `column` has one of some values.

    SQLAlchemy writes out a list of values anew for each statement and treats every column of every row, which takes
    longer than SQLite needs for ten rows. Here the text is written once for each power of two, and values come as the
    driver gives them: truths of SQLite are numbers.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], column: ColumnElement[Any]) -> None:
        self._statement = statement
        self._column = column
        self._compiled: dict[tuple[str, int], _Compiled] = {}

    def rows(self, connection: Connection, values: Sequence[Any]) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows for `values`, in the database's order."""
        if not values:
            return []
        count = 1 << (len(values) - 1).bit_length()
        text, names, by_place = self._text(connection.dialect, count)
        filled = (*values, *[values[-1]] * (count - len(values)))  # a value that comes twice gives no row twice
        given = filled if by_place else dict(zip(names, filled, strict=True))
        return connection.exec_driver_sql(text, given).fetchall()

    def _text(self, dialect: Dialect, count: int) -> _Compiled:
        key = (dialect.name, count)
        if key not in self._compiled:
            listed = self._statement.where(self._column.in_(range(count)))
            compiled = listed.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
            self._compiled[key] = str(compiled), tuple(compiled.construct_params()), bool(dialect.positional)
        return self._compiled[key]
