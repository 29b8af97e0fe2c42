"""`anyseek restore`: a backup into an empty database and an empty data directory, all of it or nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, text
from sqlalchemy.orm import Session

from search.assets import AssetStore
from search.backup.archive import ASSETS, TABLES, Member, members
from search.backup.check import Header, check
from search.backup.errors import BackupCorrupt, BackupUnknown, TargetNotEmpty
from search.backup.records import Kind, rows_of
from search.backup.write import NOT_WRITTEN
from search.catalogue import facets
from search.catalogue.session import Database
from search.catalogue.tables import CollectionRow
from search.catalogue.upgrade import configuration, take_turn
from search.errors import StoreCorrupt
from search.settings import Settings

# Numbers of items and spaces that are gone are in the log, and must not be given again.
_NUMBERED_IN_LOG = {"items": "item_id", "spaces": "space_id"}


@dataclass(frozen=True)
class Restored:
    """How many rows of each table and stored files came back; whether the backup was made with its files."""

    rows: dict[str, int]
    assets: int
    with_assets: bool


def restore(settings: Settings, path: Path) -> Restored:
    """Restore a backup into the empty installation of `settings`, whatever database it was made from.

    All of the file is checked first. Rows appear in one transaction, after the stored files, which nothing refers to
    before. Indexes are derived and are made when they are first needed.

    Raises `BackupCorrupt`, `BackupUnknown`, `TargetNotEmpty`, `OSError`.
    """
    header = check(path)
    if any(settings.indexes.glob("*/*")):
        raise TargetNotEmpty(f"{settings.indexes} holds indexes of another installation; restore into an empty home")
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        with database.engine.begin() as connection:
            take_turn(connection)
            _make_tables(connection, header, path)
            rows, assets = _fill(connection, header, path, AssetStore(settings.assets))
            command.upgrade(configuration(connection), "head")
            _go_on_numbering(connection)
            with Session(connection) as session:
                for collection_id in session.scalars(select(CollectionRow.id)).all():
                    facets.make_again(session, collection_id)
                session.flush()
    finally:
        database.close()
    return Restored(rows, assets, header.assets)


def _make_tables(connection: Connection, header: Header, path: Path) -> None:
    """Empty tables as they were when the backup was made. Raises `TargetNotEmpty`, `BackupUnknown`."""
    held = MetaData()
    held.reflect(connection)
    for table in held.sorted_tables:
        if table.name not in ("alembic_version", *NOT_WRITTEN) and connection.execute(select(table).limit(1)).first():
            raise TargetNotEmpty(
                f"the database has rows in {table.name!r} already; a backup is restored into an empty one only"
            )
    settings = configuration(connection)
    try:
        ScriptDirectory.from_config(settings).get_revision(header.schema)
    except CommandError as error:
        raise BackupUnknown(
            f"{path} was written by another version of Anyseek, whose tables are {header.schema}; restore it with that"
        ) from error
    if inspect(connection).has_table("alembic_version"):
        command.downgrade(settings, "base")
    command.upgrade(settings, header.schema)


def _fill(connection: Connection, header: Header, path: Path, store: AssetStore) -> tuple[dict[str, int], int]:
    """Insert all rows and store all files; returns how many."""
    there = MetaData()
    there.reflect(connection)
    rows = dict.fromkeys(header.tables, 0)
    assets = 0
    for name, lines, blobs in _parts(members(path), store):
        if name is None:
            assets += 1
            continue
        table = _table(there, name, header.tables)
        found = list(rows_of(lines, blobs, header.tables[name], f"a part of the table {name} in {path}"))
        connection.execute(insert(table), found)
        rows[name] += len(found)
    return rows, assets


def _parts(found: Iterator[Member], store: AssetStore) -> Iterator[tuple[str | None, bytes, bytes]]:
    """The parts of tables: name, lines and bytes of vectors; None for the name of a file that was stored."""
    lines = b""
    for member in found:
        if member.name.startswith(ASSETS):
            try:
                store.take(member.name.removeprefix(ASSETS), member.blocks())
            except StoreCorrupt as error:
                raise BackupCorrupt(f"{member.name} in the backup changed while it was restored") from error
            yield None, b"", b""
        elif member.name.endswith(".jsonl"):
            lines = member.read()
        elif member.name.endswith(".bin"):
            yield member.name.removeprefix(TABLES).partition("/")[0], lines, member.read()


def _table(there: MetaData, name: str, columns: Mapping[str, Mapping[str, Kind]]) -> Table:
    table = there.tables.get(name)
    if table is None or name not in columns or not set(columns[name]) <= set(table.columns.keys()):
        raise BackupUnknown(f"the backup has a table {name!r} that this version of Anyseek does not know so")
    return table


def _go_on_numbering(connection: Connection) -> None:
    """Have ids be given on from the highest that was."""
    there = MetaData()
    there.reflect(connection)
    for table in there.sorted_tables:
        if "id" not in table.c:
            continue
        highest = connection.scalar(select(func.max(table.c.id))) or 0
        if table.name in _NUMBERED_IN_LOG:
            in_log = there.tables["log"].c[_NUMBERED_IN_LOG[table.name]]
            highest = max(highest, connection.scalar(select(func.max(in_log))) or 0)
        if highest:
            _number_on(connection, table.name, highest)


def _number_on(connection: Connection, table: str, highest: int) -> None:
    values: dict[str, Any] = {"table": table, "highest": highest}
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :highest)"), values)
        return
    made = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = :table"), values)
    if "AUTOINCREMENT" in str(made):  # other tables give the highest id that is there, and one more
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :highest)"), values)
