"""Upgrades the catalogue's tables to the version that this program knows."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from model.files import FileLock
from search.catalogue.failures import meaning
from search.catalogue.session import Database
from search.errors import StorageFull, StorageReadOnly

logger = logging.getLogger(__name__)

# An arbitrary number that nothing else in the same database uses for a lock.
_POSTGRES_LOCK = 4_921_021


def upgrade(database: Database) -> None:
    """Make or alter the tables as `migrations/` says; safe for many processes at once, quick when nothing is to do.

    A process that is killed midway leaves the tables as they were. Where the disk is full or cannot be written, tables
    of this version may still be read.
    """
    try:
        with _alone(database), database.engine.begin() as connection:
            take_turn(connection)
            command.upgrade(configuration(connection), "head")
    except (OSError, SQLAlchemyError) as error:
        reason = meaning(error)
        if not isinstance(reason, StorageFull | StorageReadOnly) or not _is_current(database):
            raise
        logger.warning("the catalogue can only be read: %s", reason)


def _is_current(database: Database) -> bool:
    """Whether the tables are of the version that this program knows."""
    try:
        with database.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            return found == ScriptDirectory.from_config(configuration(connection)).get_current_head()
    except SQLAlchemyError:
        return False


def take_turn(connection: Connection) -> None:
    """Begin a transaction that excludes others from altering tables."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _POSTGRES_LOCK})


def configuration(connection: Connection) -> Config:
    """Alembic's settings for one connection, with the script folder found wherever the package is installed."""
    migrations = find_spec("migrations")
    if migrations is None or not migrations.submodule_search_locations:
        raise RuntimeError("the package 'migrations' is not installed; install anyseek again")
    config = Config()
    config.set_main_option("script_location", str(next(iter(migrations.submodule_search_locations))).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Hold a lock: SQLite's first connection creates the file and sets its journal mode, one process at a time."""
    name = make_url(database.url).database
    if not database.url.startswith("sqlite") or not name or name == ":memory:":
        yield
        return
    path = Path(name)
    with FileLock(path.with_name(f"{path.name}.upgrade-lock")):
        yield
