"""`anyseek restore`: restore a backup into an empty database and data directory, completely or not at all."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, func, insert, inspect, select, text
from sqlalchemy.orm import Session

from anyseek.search.assets.base import AssetStore
from anyseek.search.assets.opening import open_assets
from anyseek.search.backup.archive import (
    ASSETS,
    HEADER,
    MANIFEST,
    TABLES,
    ColumnKind,
    Manifest,
    Member,
    members,
    read_manifest,
    read_rows,
)
from anyseek.search.backup.write import EXCLUDED_TABLES, FORMAT
from anyseek.search.catalogue import audit
from anyseek.search.catalogue.derived_tables import FACETS, WORDS
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AuditRow, CollectionRow, is_of_catalogue
from anyseek.search.catalogue.upgrade import check_versions, configuration, lock_tables
from anyseek.search.errors import BackupCorrupt, BackupUnknown, StoreCorrupt, TargetNotEmpty
from anyseek.search.object_storage import Bucket
from anyseek.search.settings import Settings

# The log mentions ids of deleted items and spaces, so these ids must not be used again.
_NUMBERED_IN_LOG = {"items": "item_id", "spaces": "space_id"}


@dataclass(frozen=True)
class Header:
    """The first member of a backup: the version of the tables, whether it includes files, and the columns."""

    schema: str
    assets: bool
    tables: Mapping[str, Mapping[str, ColumnKind]]


@dataclass(frozen=True)
class RestoreSummary:
    """The number of rows restored to each table, and of stored files; whether the backup includes files."""

    rows: dict[str, int]
    assets: int
    with_assets: bool


def restore(settings: Settings, path: Path) -> RestoreSummary:
    """Restore a backup into the empty installation of `settings`, whatever database it was made from.

    The whole file is checked before anything is written: first the stored files, then all rows in one transaction.
    Indexes are derived, and are built when they are first needed.

    Raises `BackupCorrupt`, `BackupUnknown`, `TargetNotEmpty`, `CatalogueUnknown`, `OSError`.
    """
    header = check(path)
    if any(settings.indexes.glob("*/*")):
        raise TargetNotEmpty(f"{settings.indexes} holds indexes of another installation; restore into an empty home")
    if settings.bucket and Bucket(settings.bucket).folders("indexes"):
        raise TargetNotEmpty(f"{settings.bucket} holds indexes of another installation; use another prefix")
    settings.make_home()
    database = Database(settings.database_url)
    try:
        with database.engine.begin() as connection:
            lock_tables(connection)
            check_versions(connection)
            _create_tables(connection, header, path)
            rows, assets = _load(connection, header, path, open_assets(settings))
            command.upgrade(configuration(connection), "head")
            _advance_id_sequences(connection)
            with Session(connection) as session:
                for collection_id in session.scalars(select(CollectionRow.id)).all():
                    for table in (FACETS, WORDS):
                        table.rebuild(session, collection_id)
                audit.record(session, "restore", target=path.name)
                session.flush()
    finally:
        database.close()
    return RestoreSummary(rows, assets, header.assets)


def check(path: Path) -> Header:
    """Compare every member of a backup with its checksum, and the members with the manifest.

    Raises `BackupCorrupt`, `BackupUnknown` for another format, `OSError`.
    """
    header, actual, manifest = None, Manifest(), None
    for member in members(path):
        if manifest is not None:
            raise BackupCorrupt(f"{path} continues after its manifest with {member.name}")
        if header is None:
            header, digest = _read_header(member, path)
            actual.add(HEADER, member.size, digest)
        elif member.name == MANIFEST:
            manifest = read_manifest(member.read(), path)
        else:
            actual.add(member.name, member.size, _digest(member))
    if header is None or manifest is None:
        raise BackupCorrupt(f"{path} is cut short: its manifest, which comes last, is not there")
    if actual != manifest:
        difference = f"{actual.assets} stored files where there should be {manifest.assets}, or others"
        for name in sorted({*actual.members, *manifest.members}):
            if actual.members.get(name) != manifest.members.get(name):
                difference = f"{name} is missing or has other bytes"
                break
        raise BackupCorrupt(f"{path} does not hold what its manifest says: {difference}")
    return header


def _create_tables(connection: Connection, header: Header, path: Path) -> None:
    """Create empty tables of the backup's version. Raises `TargetNotEmpty`, `BackupUnknown`."""
    may_have_rows = ("alembic_version", AuditRow.__tablename__, *EXCLUDED_TABLES)
    for table in _reflect(connection).sorted_tables:
        if table.name not in may_have_rows and connection.execute(select(table).limit(1)).first():
            raise TargetNotEmpty(
                f"the database already has rows in {table.name!r}; restore a backup into an empty database"
            )
    settings = configuration(connection)
    try:
        ScriptDirectory.from_config(settings).get_revision(header.schema)
    except CommandError as error:
        raise BackupUnknown(
            f"{path} was written by another version of Anyseek, whose tables are {header.schema}; restore it "
            "with that version"
        ) from error
    if inspect(connection).has_table("alembic_version"):
        command.downgrade(settings, "base")
    command.upgrade(settings, header.schema)


def _reflect(connection: Connection) -> MetaData:
    """The existing tables of the catalogue."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: is_of_catalogue(name, "table"))
    return metadata


def _load(connection: Connection, header: Header, path: Path, store: AssetStore) -> tuple[dict[str, int], int]:
    """Insert all rows and store all files; return their numbers."""
    metadata = _reflect(connection)
    rows = dict.fromkeys(header.tables, 0)
    assets = 0
    for name, lines, blobs in _table_parts(members(path), store):
        if name is None:
            assets += 1
            continue
        table, columns = metadata.tables.get(name), header.tables.get(name)
        if table is None or columns is None or not set(columns) <= set(table.columns.keys()):
            raise BackupUnknown(f"the backup has a table {name!r} with columns that this version does not know")
        batch = list(read_rows(lines, blobs, columns, f"a part of the table {name} in {path}"))
        connection.execute(insert(table), batch)
        rows[name] += len(batch)
    return rows, assets


def _table_parts(archive: Iterator[Member], store: AssetStore) -> Iterator[tuple[str | None, bytes, bytes]]:
    """Store the assets of an archive, and yield its batches of rows: table, lines and blobs; table None per asset."""
    lines = b""
    for member in archive:
        if member.name.startswith(ASSETS):
            try:
                store.put_blocks(member.name.removeprefix(ASSETS), member.blocks())
            except StoreCorrupt as error:
                raise BackupCorrupt(f"{member.name} in the backup changed while it was restored") from error
            yield None, b"", b""
        elif member.name.endswith(".jsonl"):
            lines = member.read()
        elif member.name.endswith(".bin"):
            yield member.name.removeprefix(TABLES).partition("/")[0], lines, member.read()


def _advance_id_sequences(connection: Connection) -> None:
    """Make ids continue after the highest one used."""
    metadata = _reflect(connection)
    for table in metadata.sorted_tables:
        if "id" not in table.c:
            continue
        highest = connection.scalar(select(func.max(table.c.id))) or 0
        if table.name in _NUMBERED_IN_LOG:
            in_log = metadata.tables["log"].c[_NUMBERED_IN_LOG[table.name]]
            highest = max(highest, connection.scalar(select(func.max(in_log))) or 0)
        values: dict[str, Any] = {"table": table.name, "highest": highest}
        if not highest:
            continue
        if connection.dialect.name != "sqlite":
            connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :highest)"), values)
            continue
        definition = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = :table"), values)
        if "AUTOINCREMENT" in str(definition):  # other tables continue after the highest id present
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :highest)"), values)


def _read_header(member: Member, path: Path) -> tuple[Header, str]:
    if member.name != HEADER:
        raise BackupCorrupt(f"{path} is not a backup of Anyseek: it begins with {member.name!r}")
    data = member.read()
    try:
        fields = json.loads(data)
        if fields["format"] != FORMAT:
            raise BackupUnknown(
                f"{path} has backup format {fields['format']}; this version of Anyseek reads format {FORMAT} only, so "
                "restore it with the version that wrote it"
            )
        tables = {
            table: {name: ColumnKind(kind) for name, kind in columns.items()}
            for table, columns in fields["tables"].items()
        }
        header = Header(str(fields["schema"]), bool(fields["assets"]), tables)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupCorrupt(f"the beginning of {path} cannot be read: {error}") from error
    return header, hashlib.sha256(data).hexdigest()


def _digest(member: Member) -> str:
    """The checksum of a member; that of an asset must equal its name."""
    sha256 = hashlib.sha256()
    for block in member.blocks():
        sha256.update(block)
    digest = sha256.hexdigest()
    if member.name.startswith(ASSETS) and member.name != f"{ASSETS}{digest[:2]}/{digest[2:]}":
        raise BackupCorrupt(f"{member.name} in the backup does not have the checksum in its name")
    return digest
