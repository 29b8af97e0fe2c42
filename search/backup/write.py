"""`anyseek backup`: writes everything of an installation that cannot be derived into one file, even during service."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Table as SqlTable
from sqlalchemy import select
from sqlalchemy.orm import Session

from anyseek.model.files import TEMPORARY_PREFIX, FileLock, alive, put_in_place
from anyseek.search.assets import AssetStore
from anyseek.search.backup.archive import HEADER, TABLES, ColumnKind, Writer, kinds_of, parts_of
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AssetRow, CursorRow, FacetRow, OwnerRow, SnapshotLeaseRow, Table, WordsRow
from anyseek.search.errors import BackupCorrupt

FORMAT = 1
_UNFINISHED = f"{TEMPORARY_PREFIX}backup-"  # locked while it is written
_STREAMED = {"yield_per": 500}
# Facets and words are derived from items; owners and leases belong to processes of the original installation.
NOT_WRITTEN = tuple(row.__tablename__ for row in (FacetRow, WordsRow, OwnerRow, CursorRow, SnapshotLeaseRow))


@dataclass(frozen=True)
class Written:
    """The contents of a backup: the number of rows of each table, and the number of stored files."""

    rows: dict[str, int]
    assets: int
    size: int  # bytes


def backup(database: Database, store: AssetStore, path: Path, with_assets: bool = True) -> Written:
    """Write the backup `path`, replacing an existing file only when the new one is complete and flushed.

    All rows are read in one transaction, as of one moment. No stored file is removed in the meantime. Raises `OSError`
    if the backup cannot be written, and `BackupCorrupt`, writing nothing, if a stored file is missing or damaged. What
    a killed backup into the same folder left is removed.
    """
    path = path.absolute()
    for left in path.parent.glob(f"{_UNFINISHED}*"):
        if not alive(left):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file, FileLock(temporary), store.kept():
            rows, assets = _write(database, store, Writer(file), with_assets)
            size = file.tell()
            file.flush()
            put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Written(rows, assets, size)


def tables() -> list[SqlTable]:
    """The tables in a backup; a table comes after those that it refers to."""
    return [table for table in Table.metadata.sorted_tables if table.name not in NOT_WRITTEN]


def _write(database: Database, store: AssetStore, writer: Writer, with_assets: bool) -> tuple[dict[str, int], int]:
    from alembic.migration import MigrationContext  # takes longer to import than a query to answer

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


def _write_table(session: Session, table: SqlTable, columns: dict[str, ColumnKind], writer: Writer) -> int:
    """Write the rows of a table in parts, read as a stream; return how many."""
    count = 0
    ordered = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
    rows = session.connection().execute(ordered, execution_options=_STREAMED)
    for number, part in enumerate(parts_of(rows, list(columns.values())), 1):
        writer.add(f"{TABLES}{table.name}/{number:08}.jsonl", b"".join(part.lines))
        writer.add(f"{TABLES}{table.name}/{number:08}.bin", b"".join(part.blobs))
        count += len(part.lines)
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
                f"the stored file {path} cannot be read, so nothing was backed up: {error}; anyseek verify lists what "
                "else is missing, anyseek rebuild repairs it, --no-assets leaves files out"
            ) from error
