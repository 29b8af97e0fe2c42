"""Reads Parquet tables with a batch of rows in memory at a time. Needs the extra `sources` (pyarrow)."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO

from anyseek.indexer.errors import BadDescription, BadSource, ExtraMissing
from anyseek.indexer.paths import one_line
from anyseek.indexer.sources.rows import Row

BATCH = 256
_KEPT_BATCHES = 4


class ParquetTable:
    """Implements `Table` for Parquet. A place is the number of a row from 0; columns of bytes are left out.

    Raises `ExtraMissing` without pyarrow, `BadSource` for a file that is no Parquet.
    """

    extra_columns = True

    def __init__(self, open_file: Callable[[], BinaryIO], name: str) -> None:
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise ExtraMissing(f"reading {name} needs pyarrow: pip install 'anyseek[sources]'") from error
        self._name = name
        try:
            self._file = parquet.ParquetFile(open_file(), pre_buffer=False)
        except (arrow.ArrowInvalid, OSError) as error:
            raise BadSource(f"{name} is not a Parquet table: {one_line(str(error))}") from error
        self._wrong = (arrow.ArrowException, OSError)
        schema = self._file.schema_arrow
        types = arrow.types
        held_as_bytes = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
        self._columns = [column.name for column in schema if not any(is_kind(column.type) for is_kind in held_as_bytes)]
        self._lock = threading.Lock()
        self._ahead: Iterator[tuple[int, list[dict[str, Any]]]] | None = None
        self._batches: dict[int, list[dict[str, Any]]] = {}

    def rows(self, place: str | None = None) -> Iterator[Row]:
        """Like `Table.rows`. Raises `BadSource` where the file is damaged, as the rows after it cannot be found."""
        first = int(place or 0)
        for start, batch in self._from(first):
            for index, fields in enumerate(batch, start):
                if index >= first:
                    yield _row(index, fields)

    def row(self, place: str) -> Row:
        """Like `Table.row`; cheap if rows are requested roughly in order."""
        index = int(place)
        with self._lock:
            return _row(index, self._find(index))

    def _find(self, index: int) -> dict[str, Any]:
        for start, batch in self._batches.items():
            if start <= index < start + len(batch):
                return batch[index - start]
        if self._ahead is None or index < max(self._batches, default=index):
            self._ahead, self._batches = self._from(index), {}
        for start, batch in self._ahead:
            self._batches[start] = batch
            if len(self._batches) > _KEPT_BATCHES:
                del self._batches[min(self._batches)]
            if index < start + len(batch):
                return batch[index - start]
        self._ahead = None
        raise BadDescription(f"{self._name} was changed while it was read; index it again")

    def _from(self, index: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield batches with the number of their first row, starting with the row group that has row `index`."""
        start = 0
        for group in range(self._file.num_row_groups):
            length = self._file.metadata.row_group(group).num_rows
            if start + length > index:
                yield from self._of_group(group, start)
            start += length

    def _of_group(self, group: int, start: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        batches = self._file.iter_batches(BATCH, row_groups=[group], columns=self._columns, use_threads=False)
        try:
            for batch in batches:
                yield start, batch.to_pylist()
                start += len(batch)
        except self._wrong as error:
            raise BadSource(f"{self._name} is damaged at row {start + 1}: {one_line(str(error))}") from error


def _row(index: int, fields: Mapping[str, Any]) -> Row:
    here, following = str(index), str(index + 1)
    try:
        return Row(index + 1, here, following, {name: _plain(value) for name, value in fields.items()})
    except ValueError as error:
        return Row(index + 1, here, following, None, str(error))


def _plain(value: Any) -> Any:
    """Convert a value to its JSON form; NaN and infinity become None. Raises `ValueError` if it has no such form."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"a value of the type {type(value).__name__} cannot be written as JSON")
