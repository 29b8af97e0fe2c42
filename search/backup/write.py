"""`anyseek backup`: writes everything of an installation that cannot be derived into one file, even during service."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Table as SqlTable
from sqlalchemy import select
from sqlalchemy.orm import Session

from anyseek.model.files import TEMPORARY_PREFIX, FileLock, is_locked, move_into_place
from anyseek.search.assets.base import AssetStore, ordered_ahead
from anyseek.search.backup.archive import HEADER, TABLES, ColumnKind, Writer, column_kinds, split_rows
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AssetRow, CursorRow, FacetRow, OwnerRow, SnapshotLeaseRow, Table, WordsRow
from anyseek.search.errors import BackupCorrupt

FORMAT = 1
_TEMPORARY_PREFIX = f"{TEMPORARY_PREFIX}backup-"  # locked while it is written
_STREAMED = {"yield_per": 500}
# Facets and words are derived from items; owners and leases belong to processes of the original installation.
EXCLUDED_TABLES = tuple(row.__tablename__ for row in (FacetRow, WordsRow, OwnerRow, CursorRow, SnapshotLeaseRow))


@dataclass(frozen=True)
class BackupSummary:
    """The contents of a backup: the number of rows of each table, and the number of stored files."""

    rows: dict[str, int]
    assets: int
    size: int  # bytes


def backup(database: Database, store: AssetStore, path: Path, with_assets: bool = True) -> BackupSummary:
    """Write the backup `path`, replacing an existing file only when the new one is complete and flushed.

    All rows are read in one snapshot, and no stored file is removed meanwhile. Leftovers of killed backups into the
    same folder are removed. Raises `OSError` if the backup cannot be written, and `BackupCorrupt`, writing nothing, if
    a stored file is missing or damaged.
    """
    path = path.absolute()
    for leftover in path.parent.glob(f"{_TEMPORARY_PREFIX}*"):
        if not is_locked(leftover):
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file, FileLock(temporary), store.prevent_removal():
            rows, assets = _write(database, store, Writer(file), with_assets)
            size = file.tell()
            file.flush()
            move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return BackupSummary(rows, assets, size)


def included_tables() -> list[SqlTable]:
    """The tables in a backup; a table comes after those that it refers to."""
    return [table for table in Table.metadata.sorted_tables if table.name not in EXCLUDED_TABLES]


def _write(database: Database, store: AssetStore, writer: Writer, with_assets: bool) -> tuple[dict[str, int], int]:
    from alembic.migration import MigrationContext  # takes longer to import than a query to answer

    with database.read() as session:
        columns = {table.name: column_kinds(table) for table in included_tables()}
        schema = MigrationContext.configure(session.connection()).get_current_revision()
        header = {"anyseek": "backup", "format": FORMAT, "schema": schema, "assets": with_assets, "tables": columns}
        writer.add(HEADER, json.dumps(header).encode())
        rows = {table.name: _write_table(session, table, columns[table.name], writer) for table in included_tables()}
        if with_assets:
            _write_assets(session, store, writer)
    writer.close()
    return rows, writer.manifest.assets


def _write_table(session: Session, table: SqlTable, columns: dict[str, ColumnKind], writer: Writer) -> int:
    """Stream the rows of a table into the archive in batches; return how many."""
    count = 0
    ordered = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
    rows = session.connection().execute(ordered, execution_options=_STREAMED)
    for number, batch in enumerate(split_rows(rows, list(columns.values())), 1):
        writer.add(f"{TABLES}{table.name}/{number:08}.jsonl", b"".join(batch.lines))
        writer.add(f"{TABLES}{table.name}/{number:08}.bin", b"".join(batch.blobs))
        count += len(batch.lines)
    return count


def _write_assets(session: Session, store: AssetStore, writer: Writer) -> None:
    stored = select(AssetRow.location, AssetRow.size_bytes).where(AssetRow.stored).distinct()
    ordered = stored.order_by(AssetRow.location)
    rows = session.connection().execute(ordered, execution_options=_STREAMED)
    try:
        for (location, size), file in ordered_ahead(lambda row: store.stream(*row), rows, store.threads):
            with file:
                writer.add_asset(location, file, size)
    except OSError as error:
        raise BackupCorrupt(
            f"a stored file cannot be read, so nothing was backed up: {error}; anyseek verify lists all that are "
            "missing, anyseek rebuild repairs them, --no-assets leaves files out"
        ) from error
