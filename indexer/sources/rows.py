"""Reads tables of text a row at a time: JSON lines, CSV and lists of URLs.

A row can be read again by its place, without an index.
"""

import csv
import math
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO

from anyseek.indexer.errors import BadDescription, BadSource, ExtraMissing
from anyseek.indexer.paths import one_line
from anyseek.indexer.sources.base import json_object

LINE_BYTES = 1 << 20
MODALITY_COLUMN = "modality:"  # followed by the name of a modality
LABEL_COLUMNS = ("label", "labels")
_BOM, _BLANK = b"\xef\xbb\xbf", "\ufeff \t\r\n"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?")
_BOOLEANS = {"true": True, "false": False}
_RESERVED = frozenset({"file", "url", "key", "caption", "attributes", "modalities", *LABEL_COLUMNS})

# A function that opens the file of a table.
OpenFile = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Row:
    """One row: its number, its `place` in the file (a cursor for `Table.row`), and its content.

    A row that cannot be read has an `error` and no `fields`.
    """

    number: int
    place: str
    fields: Mapping[str, Any] | None
    error: str = ""


class Table(ABC):
    """Rows of a file. Safe for several threads. With `extra_columns`, other columns are attributes of items."""

    extra_columns = False
    count: int | None = None  # rows, if known without reading them

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All rows, in order."""

    @abstractmethod
    def row(self, place: str) -> Row:
        """The row at `place`. Raises `BadDescription` if the file no longer has it."""


class _Lines:
    """Iterator over the lines of a stream as text; `place` is the cursor of the next line."""

    def __init__(self, stream: BinaryIO, place: str) -> None:
        number, _, offset = place.partition("@")
        self.number, self.offset = int(number), int(offset)
        self._stream = stream
        stream.seek(self.offset)

    @property
    def place(self) -> str:
        return f"{self.number}@{self.offset}"

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        data = self._stream.readline(LINE_BYTES)
        length = len(data)
        too_long = length == LINE_BYTES and not data.endswith(b"\n")
        while too_long and (more := self._stream.readline(LINE_BYTES)):
            length += len(more)
            if more.endswith(b"\n"):
                break
        if not data:
            raise StopIteration
        self.number, self.offset = self.number + 1, self.offset + length
        if too_long:
            raise ValueError(f"it is longer than {LINE_BYTES:,} bytes")
        return data.decode("utf-8")


class _TextTable(Table):
    """The base class of tables of text."""

    _first = "1@0"

    def __init__(self, open_file: OpenFile, name: str) -> None:
        self._open, self._name = open_file, name

    def rows(self) -> Iterator[Row]:
        return self._rows_from(self._first)

    def _rows_from(self, place: str) -> Generator[Row, None, None]:
        with self._open() as stream:
            lines = _Lines(stream, place)
            next_row = self._make_reader(lines)
            while True:
                number, here = lines.number, lines.place
                try:
                    fields, error = next_row(), ""
                except StopIteration:
                    return
                except (ValueError, csv.Error, BadDescription) as invalid:
                    fields, error = None, one_line(str(invalid))
                if fields is not None or error:
                    yield Row(number, here, fields, error)

    def row(self, place: str) -> Row:
        with closing(self._rows_from(place)) as rows:
            row = next(rows, None)
        if row is None:
            raise BadDescription(f"{self._name} was changed while it was read; index it again")
        return row

    def _make_reader(self, lines: _Lines) -> Callable[[], Mapping[str, Any] | None]:
        """A function that returns the next row, None for a blank one, and raises `StopIteration` at the end."""
        return lambda: self._parse_line(next(lines))

    def _parse_line(self, line: str) -> Mapping[str, Any] | None:
        """The row that a line contains, None for a blank one; for tables with one row per line."""
        raise NotImplementedError


class JsonLines(_TextTable):
    """One JSON object a line."""

    def _parse_line(self, line: str) -> Mapping[str, Any] | None:
        return json_object(line.encode(), "the line") if line.strip(_BLANK) else None


class UrlLines(_TextTable):
    """One URL a line; lines that begin with `#` are skipped."""

    def _parse_line(self, line: str) -> Mapping[str, Any] | None:
        url = line.strip(_BLANK)
        return {"url": url} if url and not url.startswith("#") else None


class CsvTable(_TextTable):
    """Comma-separated values in UTF-8 whose first line names the columns.

    Empty cells are skipped. In attributes, numbers, `true` and `false` are parsed. Raises `BadSource` for an invalid
    first line.
    """

    extra_columns = True

    def __init__(self, open_file: OpenFile, name: str) -> None:
        super().__init__(open_file, name)
        with open_file() as stream:
            start = len(_BOM) if stream.read(len(_BOM)) == _BOM else 0
            lines = _Lines(stream, f"1@{start}")
            try:
                self._columns = [column.strip() for column in next(csv.reader(lines, strict=True), [])]
            except (ValueError, csv.Error) as error:
                raise BadSource(f"the first line of {name} does not name columns: {one_line(str(error))}") from error
        if not all(self._columns) or len(set(self._columns)) < len(self._columns):
            raise BadSource(f"the first line of {name} has a column without a name, or one twice; name each once")
        self._first = lines.place

    def _make_reader(self, lines: _Lines) -> Callable[[], Mapping[str, Any] | None]:
        reader = csv.reader(lines, strict=True)

        def next_row() -> Mapping[str, Any] | None:
            cells = next(reader)
            if not cells:
                return None
            if len(cells) != len(self._columns):
                raise ValueError(f"it has {len(cells)} cells; the first line names {len(self._columns)} columns")
            return {name: _parse_cell(name, cell) for name, cell in zip(self._columns, cells, strict=True) if cell}

        return next_row


def is_reserved(column: str) -> bool:
    """Whether a column is part of a description rather than an attribute."""
    return column in _RESERVED or column.startswith(MODALITY_COLUMN)


def _parse_cell(column: str, cell: str) -> Any:
    """The value of a cell: in attributes, numbers and booleans are parsed."""
    if is_reserved(column):
        return cell
    if _NUMBER.fullmatch(cell):
        return float(cell) if set(cell) & set(".eE") else int(cell)
    return _BOOLEANS.get(cell, cell)


BATCH = 256
_CACHED_BATCHES = 4


class ParquetTable(Table):
    """Parquet. A place is a row index from 0; binary columns are skipped.

    Raises `ExtraMissing` without pyarrow, `BadSource` for a file that is not Parquet.
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
        self.count = self._file.metadata.num_rows
        self._errors = (arrow.ArrowException, OSError)
        schema = self._file.schema_arrow
        types = arrow.types
        binary_types = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
        self._columns = [column.name for column in schema if not any(is_kind(column.type) for is_kind in binary_types)]
        self._lock = threading.Lock()
        self._upcoming: Iterator[tuple[int, list[dict[str, Any]]]] | None = None
        self._batches: dict[int, list[dict[str, Any]]] = {}

    def rows(self) -> Iterator[Row]:
        """Like `Table.rows`. Raises `BadSource` where the file is damaged: rows after that cannot be located."""
        for start, batch in self._rows_from(0):
            yield from (_make_row(index, fields) for index, fields in enumerate(batch, start))

    def row(self, place: str) -> Row:
        """Like `Table.row`; cheap if rows are requested roughly in order."""
        index = int(place)
        with self._lock:
            return _make_row(index, self._find(index))

    def _find(self, index: int) -> dict[str, Any]:
        for start, batch in self._batches.items():
            if start <= index < start + len(batch):
                return batch[index - start]
        if self._upcoming is None or index < max(self._batches, default=index):
            self._upcoming, self._batches = self._rows_from(index), {}
        for start, batch in self._upcoming:
            self._batches[start] = batch
            if len(self._batches) > _CACHED_BATCHES:
                del self._batches[min(self._batches)]
            if index < start + len(batch):
                return batch[index - start]
        self._upcoming = None
        raise BadDescription(f"{self._name} was changed while it was read; index it again")

    def _rows_from(self, index: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield batches with the number of their first row, starting with the row group that has row `index`."""
        start = 0
        for group in range(self._file.num_row_groups):
            length = self._file.metadata.row_group(group).num_rows
            if start + length > index:
                yield from self._read_group(group, start)
            start += length

    def _read_group(self, group: int, start: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        batches = self._file.iter_batches(BATCH, row_groups=[group], columns=self._columns, use_threads=False)
        try:
            for batch in batches:
                yield start, batch.to_pylist()
                start += len(batch)
        except self._errors as error:
            raise BadSource(f"{self._name} is damaged at row {start + 1}: {one_line(str(error))}") from error


def _make_row(index: int, fields: Mapping[str, Any]) -> Row:
    try:
        return Row(index + 1, str(index), {name: _to_json(value) for name, value in fields.items()})
    except ValueError as error:
        return Row(index + 1, str(index), None, str(error))


def _to_json(value: Any) -> Any:
    """Convert a value to its JSON form; NaN and infinity become None. Raises `ValueError` if it has no such form."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list):
        return [_to_json(member) for member in value]
    if isinstance(value, dict):
        return {str(name): _to_json(member) for name, member in value.items()}
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"a value of the type {type(value).__name__} cannot be written as JSON")
