"""`anyseek backup`: everything of an installation that cannot be derived, in one file. The service may be running."""

import json
from dataclasses import dataclass
from pathlib import Path

from alembic.migration import MigrationContext
from sqlalchemy import Table as SqlTable
from sqlalchemy import select
from sqlalchemy.orm import Session

from search.assets import AssetStore
from search.backup.archive import HEADER, TABLES, Writer
from search.backup.errors import BackupCorrupt
from search.backup.records import Kind, Part, kinds_of
from search.catalogue.session import Database
from search.catalogue.tables import AssetRow, CursorRow, FacetRow, OwnerRow, SnapshotLeaseRow, Table
from search.durable import flush_file, temporary_beside

FORMAT = 1
_STREAMED = {"yield_per": 500}
# Facets are derived from items; owners and leases are of processes of the installation that is backed up.
NOT_WRITTEN = tuple(row.__tablename__ for row in (FacetRow, OwnerRow, CursorRow, SnapshotLeaseRow))


@dataclass(frozen=True)
class Written:
    """What is in a backup: how many rows of each table, and how many stored files."""

    rows: dict[str, int]
    assets: int
    size: int  # bytes


def backup(database: Database, store: AssetStore, path: Path, with_assets: bool = True) -> Written:
    """Write the backup `path`: beside, flushed, renamed. What is there is replaced.

    All rows are read in one transaction, as of one moment. No stored file is removed meanwhile. Raises `OSError` if it
    cannot be written, `BackupCorrupt` if a stored file is missing or damaged: then nothing is written.
    """
    temporary = temporary_beside(path.absolute())
    try:
        with store.kept(), temporary.open("xb") as file:
            rows, assets = _write(database, store, Writer(file), with_assets)
            size = file.tell()
        flush_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_file(path.absolute().parent)
    return Written(rows, assets, size)


def tables() -> list[SqlTable]:
    """The tables that are in a backup, those referred to first."""
    return [table for table in Table.metadata.sorted_tables if table.name not in NOT_WRITTEN]


def _write(database: Database, store: AssetStore, writer: Writer, with_assets: bool) -> tuple[dict[str, int], int]:
    with database.read() as session:
        columns = {table.name: kinds_of(table) for table in tables()}
        schema = MigrationContext.configure(session.connection()).get_current_revision()
        header = {"anyseek": "backup", "format": FORMAT, "schema": schema, "assets": with_assets, "tables": columns}
        writer.add(HEADER, json.dumps(header).encode())
        rows = {table.name: _write_table(session, table, columns[table.name], writer) for table in tables()}
        if with_assets:
            _write_assets(session, store, writer)
    writer.close()
    return rows, writer.contents.assets


def _write_table(session: Session, table: SqlTable, columns: dict[str, Kind], writer: Writer) -> int:
    """Write the rows of a table in parts, read as a stream; return how many."""
    count = number = 0
    part, kinds = Part(), list(columns.values())
    ordered = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)

    def finish() -> None:
        nonlocal part, number
        number += 1
        writer.add(f"{TABLES}{table.name}/{number:08}.jsonl", b"".join(part.lines))
        writer.add(f"{TABLES}{table.name}/{number:08}.bin", b"".join(part.blobs))
        part = Part()

    for row in session.connection().execute(ordered, execution_options=_STREAMED):
        part.add(row, kinds)
        count += 1
        if part.full:
            finish()
    if part.lines:
        finish()
    return count


def _write_assets(session: Session, store: AssetStore, writer: Writer) -> None:
    stored = select(AssetRow.location, AssetRow.size_bytes).where(AssetRow.stored).distinct()
    ordered = stored.order_by(AssetRow.location)
    for location, size in session.connection().execute(ordered, execution_options=_STREAMED):
        path = store.root / location
        try:
            writer.add_asset(location, path, size)
        except OSError as error:
            raise BackupCorrupt(
                f"the stored file {path} cannot be read, so nothing was backed up: {error}; anyseek verify tells what "
                "else is missing, anyseek rebuild mends it, --no-assets leaves files out"
            ) from error
