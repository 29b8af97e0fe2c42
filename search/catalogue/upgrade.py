"""Upgrades the catalogue's tables to this program's version."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from anyseek.model.files import FileLock
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import CatalogueUnknown
from anyseek.search.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

# The newest of `migrations/versions`. Tables that have it need no upgrade, and Alembic need not be imported.
NEWEST = "0020"
# An arbitrary number that nothing else in the same database uses for a lock.
_POSTGRES_LOCK = 4_921_021


def open_database(settings: Settings) -> Database:
    """Open the settings' catalogue, creating or upgrading it and the data directory as needed."""
    settings.make_home()
    database = Database(settings.database_url)
    try:
        upgrade(database)
    except BaseException:
        database.close()
        raise
    return database


def upgrade(database: Database) -> None:
    """Run the migrations that the tables lack; safe for concurrent processes, fast if they lack none.

    A process that is killed midway leaves the tables as they were. Tables of this version are not written to, so they
    can be read on a disk that is full or read-only. Raises `CatalogueUnknown`.
    """
    if _is_newest(database):
        return
    from alembic import command

    with _file_lock(database), database.engine.begin() as connection:
        lock_tables(connection)
        check_versions(connection)
        command.upgrade(configuration(connection), "head")


def _is_newest(database: Database) -> bool:
    """True if the tables are known to be of this program's version."""
    name = make_url(database.url).database
    if database.url.startswith("sqlite") and not (name and Path(name).exists()):
        return False  # connecting would create the file without `_file_lock`
    try:
        with database.once() as connection:
            return bool(connection.scalar(text("SELECT version_num FROM alembic_version")) == NEWEST)
    except SQLAlchemyError:
        return False


def lock_tables(connection: Connection) -> None:
    """Begin a transaction that excludes others from altering tables."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _POSTGRES_LOCK})


def unknown_versions(connection: Connection) -> set[str]:
    """Versions of the tables that this program does not know, such as a newer program's."""
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(configuration(connection)).walk_revisions()}
    return set(MigrationContext.configure(connection).get_current_heads()) - known


def check_versions(connection: Connection) -> None:
    """Raises `CatalogueUnknown` for tables of a version that this program does not know."""
    for version in sorted(unknown_versions(connection)):
        raise CatalogueUnknown(
            f"the catalogue has tables of version {version}, and this anyseek knows those up to {NEWEST}; install the "
            "anyseek that made them, or a newer one"
        )


def configuration(connection: Connection) -> "Config":
    """Alembic's configuration for one connection, with the installed package's scripts."""
    migrations = find_spec("anyseek.migrations")
    if migrations is None or not migrations.submodule_search_locations:
        raise RuntimeError("the package 'anyseek.migrations' is not installed; install anyseek again")
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(next(iter(migrations.submodule_search_locations))).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    """Hold a lock: SQLite's first connection creates the file and sets its journal mode, one process at a time."""
    name = make_url(database.url).database
    if not database.url.startswith("sqlite") or not name or name == ":memory:":
        yield
        return
    path = Path(name)
    with FileLock(path.with_name(f"{path.name}.upgrade-lock")):
        yield
