"""Connections to SQLite, also where the disk cannot be written, the queue of its writers, and its commit counter."""

import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from anyseek.search.errors import StoreCorrupt

# A writer pauses for a random time up to this long between attempts to take a lock that another process holds.
LONGEST_PAUSE_SECONDS = 0.05
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


class WriterQueue:
    """A FIFO lock for the writers of one database within this process.

    SQLite gives its lock to whichever connection happens to try next, which can starve one of several busy threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: deque[object] = deque()  # the first writes, the others wait

    def __len__(self) -> int:
        """The number of writers, the one that writes included."""
        return len(self._tickets)

    @contextmanager
    def turn(self, timeout: float) -> Iterator[None]:
        """Hold the lock within the block. Raises `OperationalError` if it is not free within `timeout` seconds."""
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: self._tickets[0] is ticket, timeout):
                    raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()


_queues: dict[str, WriterQueue] = {}
os.register_at_fork(after_in_child=_queues.clear)  # the threads that held or awaited a turn are not forked


def writer_queue(engine: Engine) -> WriterQueue:
    """The queue of this process for a database in a file; a new one for a database in memory."""
    path = engine.url.database
    if not path or path == ":memory:":
        return WriterQueue()
    return _queues.setdefault(str(Path(path).absolute()), WriterQueue())


def begin_immediate(connection: Connection, deadline: float) -> None:
    """Begin a transaction with the write lock, for which other processes are waited for until `deadline`.

    The pauses are random: SQLite's own are the same in every process, so two of them can miss each other for long.
    Raises `OperationalError` if the database is still locked. `connection` should have no busy timeout of its own.
    """
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            left = deadline - time.monotonic()
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or left <= 0:
                raise
        time.sleep(min(left, random.uniform(0, LONGEST_PAUSE_SECONDS)))


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


# The number of the connection, and its version; versions of two connections cannot be compared.
Version = tuple[int, int]


class CommitWatch:
    """Asks SQLite's `data_version` on a connection of its own. Safe for many threads.

    The number changes with every commit of another connection, of whatever process. This one never writes, so it sees
    them all. PostgreSQL has nothing like it that costs less than a small query.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tells = engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:")
        self._lock = threading.Lock()
        self._connection: Any = None
        self._process = 0
        self._opened = 0

    def version(self) -> Version | None:
        """A version that changes with every commit; None if the database has none, or cannot be asked now."""
        if not self._tells:
            return None
        with self._lock:
            return self._asked()

    def glance(self) -> Version | None:
        """The same version; None also where another thread asks, or a connection is yet to be opened.

        It never waits, so the event loop may call it.
        """
        if self._connection is None or self._process != os.getpid() or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._asked()
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _asked(self) -> Version | None:
        """The caller has the lock."""
        try:
            if self._connection is None or self._process != os.getpid():
                self._open()
            if self._connection is None:
                return None
            return self._opened, self._connection.cursor().execute("PRAGMA data_version").fetchone()[0]
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
            self._connection = None
            return None  # the caller reads instead, and hears what is wrong

    def _open(self) -> None:
        """A connection must not be used on the other side of a fork, so each process opens its own.

        None is kept while the database can only be read: what others commit later would not change its number.
        """
        connection = self._engine.raw_connection()
        if isinstance(connection.dbapi_connection, Unwritable):
            connection.close()
            return
        connection.detach()
        connection.cursor().execute("PRAGMA busy_timeout = 0")  # who asks reads instead of waiting
        self._connection, self._process = connection, os.getpid()
        self._opened += 1
