"""Connections to SQLite: how they are made, also where the disk cannot be written."""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from anyseek.search.errors import StoreCorrupt

_CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)


def sqlite_engine(url: str, wait: float) -> Engine:
    """An engine for a database in a file or in memory, whose connections wait `wait` seconds for a lock."""
    path = make_url(url).database
    if not path or path == ":memory:":
        engine = create_engine(url, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", lambda connection, record: _prepare_sqlite(connection))
        return engine
    engine = create_engine(url, creator=partial(_connect_sqlite, Path(path), wait))
    event.listen(engine, "checkin", _drop_unwritable)
    return engine


class Unwritable(sqlite3.Connection):
    """A view of a database whose disk is full or read-only, as long as one transaction."""


def _connect_sqlite(path: Path, wait: float) -> sqlite3.Connection:
    """A connection that can write, or else one that can read: a log (WAL) cannot even be read without writing to it.

    Where the log is empty, as after an orderly end, the database is opened as one that nobody changes.
    """
    connection = sqlite3.connect(path, timeout=wait, check_same_thread=False)
    try:
        _prepare_sqlite(connection)
        connection.execute("SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in _CANNOT_WRITE or not _has_no_log(path):
            raise
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        factory=Unwritable,
    )


def _has_no_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return path.exists() and path.stat().st_size > 0 and (not log.exists() or log.stat().st_size == 0)


def _drop_unwritable(connection: object, record: ConnectionPoolEntry) -> None:
    """The next transaction looks anew: others may have changed the database, or the disk can be written again."""
    if isinstance(connection, Unwritable):
        record.invalidate()


def _prepare_sqlite(connection: Any) -> None:
    """WAL lets readers go on beside a writer; FULL makes a commit outlive a power cut."""
    connection.isolation_level = None  # transactions are begun by hand; BEGIN IMMEDIATE needs that
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except UnicodeDecodeError as error:  # SQLite quotes its damaged schema, and Python cannot read the message
        raise StoreCorrupt("the database is damaged beyond reading; restore a backup") from error
