"""A table as a source, with one item per row. The columns name its picture and describe it.

file | url                the picture: a path relative to the table's folder, or its address on the web
key                       the item's key; without it the path or the URL
caption
label, labels             become the attribute `label`: one name, or several
attributes, modalities    as in a sidecar; in CSV a cell with JSON
modality:depth            a file of another modality
anything else             an attribute of that name (CSV and Parquet; in JSON lines it is left to other tools)
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyseek.indexer.errors import AddressRefused, BadDescription, InputVanished, SourceGone
from anyseek.indexer.paths import to_key, to_uri
from anyseek.indexer.sources.base import Description, Source, SourceInput, parse_description
from anyseek.indexer.sources.rows import LABEL_COLUMNS, MODALITY_COLUMN, Row, Table, is_reserved
from anyseek.indexer.sources.storage import Storage
from anyseek.indexer.sources.web import Web, is_url
from anyseek.search.catalogue.items import KEYS, is_valid_key
from anyseek.search.errors import BadInput, LimitExceeded
from anyseek.search.settings import Limits

_URI_CHARACTERS = 1_500  # databases cannot index much longer ones


class TableSource(Source):
    """A table in a folder. A `ref` is a path below the folder, or a URL.

    Raises `LimitExceeded` if its metadata states too many rows; without such metadata `scan` raises it.
    """

    def __init__(self, storage: Storage, file: str, table: Table, web: Web, limits: Limits) -> None:
        self._storage, self._file, self._table, self._web, self._limits = storage, file, table, web, limits
        self._name = to_uri(file)
        self._check_rows(table.count or 0)
        first = next(iter(table.rows()), None)
        fields = first.fields if first and first.fields else {}
        begins_with_url = is_url(str(fields.get("url") or fields.get("file") or ""))
        self.threads = web.threads if begins_with_url else storage.threads

    @property
    def uri(self) -> str:
        return f"{self._storage.uri}/{self._name}"

    def scan(self) -> Iterator[SourceInput]:
        self.check()
        for number, row in enumerate(self._table.rows(), 1):
            self._check_rows(number)
            yield self._input(row)

    def describe(self, uri: str) -> Description:
        row = self._table.row(uri.rpartition("#")[2])
        description = self._describe(row)
        if self._uri(row, description) != uri:
            raise BadDescription(f"{self._name} was changed while it was read; index it again")
        return description

    def read(self, ref: str) -> bytes:
        return self._web.read(ref) if is_url(ref) else self._storage.read(ref)

    def name(self, ref: str) -> str:
        return ref if is_url(ref) else to_uri(ref)

    def state(self, ref: str) -> str | None:
        return None if is_url(ref) else self._storage.state(ref)

    def local_path(self, ref: str) -> Path | None:
        return None if is_url(ref) else self._storage.local_path(ref)

    def check(self) -> None:
        try:
            self._storage.version(self._file)
        except InputVanished as error:
            raise SourceGone(f"{self.uri} is gone") from error
        except BadInput as error:
            raise SourceGone(f"{self.uri} cannot be read: {error}") from error

    def _check_rows(self, count: int) -> None:
        """Raises `LimitExceeded`."""
        if count > self._limits.rows_per_table:
            most = f"{self._limits.rows_per_table:,}"
            raise LimitExceeded(
                f"{self._name} has more than the {most} rows that a table may have; split it, or raise "
                "ANYSEEK_LIMITS_ROWS_PER_TABLE"
            )

    def _input(self, row: Row) -> SourceInput:
        try:
            description = self._describe(row)
        except BadInput as error:
            place = f"{self._name}:{row.number}"
            return SourceInput(place, place, str(error), error.code)
        return SourceInput(self._uri(row, description), description.key or "", description=description)

    def _uri(self, row: Row, description: Description) -> str:
        picture = self.name(description.file or "")
        return f"{picture if len(picture) <= _URI_CHARACTERS else self._name}#{row.place}"

    def _describe(self, row: Row) -> Description:
        """Describe a row, with `file` and `key` set. Raises `BadDescription`, `OutsideFolder`, `AddressRefused`."""
        name = f"{self._name}, row {row.number}"
        if row.fields is None:
            raise BadDescription(f"{name}: {row.error}")
        pictures = [row.fields[column] for column in ("file", "url") if row.fields.get(column)]
        if len(pictures) != 1:
            raise BadDescription(f"{name} needs either a file or a url, which names the picture")
        if row.fields.get("url") and not is_url(str(pictures[0])):
            raise AddressRefused(f"{name}: {str(pictures[0])[:200]!r} is not an http or https address")
        fields = description_of_row(row.fields, self._table.extra_columns, name)
        description = parse_description({**fields, "file": pictures[0]}, self._resolve, self._limits, name)
        assert description.file is not None
        key = description.key or (description.file if is_url(description.file) else to_key(description.file))
        if not is_valid_key(key):
            raise BadDescription(f"{name} has an address that cannot be a key (a key is {KEYS}); add a column `key`")
        return replace(description, key=key)

    def _resolve(self, path: str) -> str:
        return self._web.resolve(path) if is_url(path) else self._storage.resolve(path)


def description_of_row(row: Mapping[str, Any], extra_columns: bool, name: str) -> dict[str, Any]:
    """The members of a description, without its picture, from a row. Raises `BadDescription`.

    With `extra_columns`, unknown columns become attributes.
    """
    cells = {column: value for column, value in row.items() if value is not None}
    fields: dict[str, Any] = {member: cells[member] for member in ("key", "caption") if member in cells}
    if extra_columns and "key" in fields:
        fields["key"] = str(fields["key"])
    fields["modalities"] = _modalities(cells, name)
    fields["attributes"] = _attributes(cells, extra_columns, name)
    return fields


def _modalities(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    columns = {
        column.removeprefix(MODALITY_COLUMN): row[column] for column in row if column.startswith(MODALITY_COLUMN)
    }
    return _merge(_parse_object(row, "modalities", name), columns, name)


def _attributes(row: Mapping[str, Any], extra_columns: bool, name: str) -> dict[str, Any]:
    extras = {column: value for column, value in row.items() if extra_columns and not is_reserved(column)}
    if all(column in row for column in LABEL_COLUMNS):
        raise BadDescription(f"{name} has both `label` and `labels`; keep one of them")
    for column in LABEL_COLUMNS:
        if column in row:
            extras["label"] = _parse_label(row[column], name)
    return _merge(_parse_object(row, "attributes", name), extras, name)


def _parse_label(value: Any, name: str) -> Any:
    """A label, or a list of labels that may be written as JSON."""
    listed = value
    if isinstance(value, str) and value.startswith("["):
        listed = _parse_json(value, "labels", name)
    is_list = isinstance(listed, list) and all(isinstance(label, str) for label in listed)
    if not is_list and not isinstance(listed, str):
        raise BadDescription(f"{name}: the label {str(value)[:40]!r} must be a text or a list of texts")
    return listed


def _parse_object(row: Mapping[str, Any], member: str, name: str) -> dict[str, Any]:
    value = row.get(member, {})
    if isinstance(value, str):
        value = _parse_json(value, member, name)
    if not isinstance(value, dict):
        raise BadDescription(f"{name}: {member!r} is {str(value)[:40]!r}; a JSON object was expected")
    return {key: item for key, item in value.items() if item is not None or member == "attributes"}


def _parse_json(cell: str, member: str, name: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise BadDescription(f"{name}: {member!r} is not JSON: {str(error)[:80]}") from error


def _merge(first: Mapping[str, Any], second: Mapping[str, Any], name: str) -> dict[str, Any]:
    if twice := sorted(first.keys() & second.keys()):
        raise BadDescription(f"{name} gives {twice[0]!r} twice; give it once")
    return {**first, **second}
