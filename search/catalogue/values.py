"""Conversions of times, vectors and long lists of values between Python and SQL."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy import cast as sql_cast
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
    """Batches of up to `size` of the `values`, few enough for one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def rows_in(
    session: Session, statement: "Select[*Columns]", column: InstrumentedAttribute[Any], values: Sequence[Any]
) -> "Iterator[Row[*Columns]]":
    """The rows of a select whose `column` has one of any number of `values`."""
    for batch in chunks(values):
        yield from session.execute(statement.where(column.in_(batch)))


def id_in(
    session: Session, column: ColumnElement[int] | InstrumentedAttribute[int], ids: Sequence[int]
) -> ColumnElement[bool]:
    """The condition that `column` is one of any number of `ids`, passed as one parameter."""
    dialect = session.get_bind().dialect
    return _listed_in(dialect, column, bindparam("ids", _as_parameter(dialect, ids), unique=True))


def _listed_in(dialect: Dialect, column: Any, parameter: BindParameter[Any]) -> ColumnElement[bool]:
    if dialect.name == "sqlite":
        return cast(ColumnElement[bool], column.in_(select(func.json_each(parameter).table_valued("value").c.value)))
    return cast(ColumnElement[bool], column == any_(sql_cast(parameter, ARRAY(BigInteger))))


def _as_parameter(dialect: Dialect, ids: Sequence[int]) -> str | list[int]:
    return json.dumps(ids) if dialect.name == "sqlite" else list(ids)


def to_bytes(vector: "FloatArray") -> bytes:
    """The vector as stored: float32, little-endian."""
    import numpy as np  # here, so that a command without vectors starts without NumPy

    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def from_bytes(data: bytes) -> "FloatArray":
    """The inverse of `to_bytes`, as a flat array."""
    import numpy as np

    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)


class Lookup:
    """A select by values of `column`, compiled once.

    It bypasses SQLAlchemy's result processing, which takes longer than SQLite needs for ten rows. So values are as the
    driver returns them: SQLite's booleans are numbers.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], column: ColumnElement[Any]) -> None:
        self._statement = statement
        self._column = column
        self._compiled: dict[str, str] = {}

    def rows(self, connection: Connection, values: Sequence[Any]) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows for `values`, in the database's order."""
        if not values:
            return []
        dialect = connection.dialect
        if dialect.name not in self._compiled:
            query = self._statement.where(_listed_in(dialect, self._column, bindparam("ids", required=True)))
            self._compiled[dialect.name] = str(query.compile(dialect=dialect))
        parameter = _as_parameter(dialect, values)
        return connection.exec_driver_sql(
            self._compiled[dialect.name], (parameter,) if dialect.positional else {"ids": parameter}
        ).fetchall()
