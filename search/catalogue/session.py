"""Read and write transactions of the catalogue's database.

For SQLite there are also read-only connections on unwritable disks, a FIFO queue of writers and a commit counter.
Cheaper than a transaction are `once`, for a single statement, and `version`, which shows if anything has changed.
"""

import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Executable, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.pool import ConnectionPoolEntry

from anyseek.search.catalogue.interruption import explain_interruption, interruptible
from anyseek.search.errors import StoreCorrupt
from anyseek.search.telemetry.spans import Stage, time_stage

# A writer pauses for a random time up to this long between attempts to take a lock that another process holds.
MAX_PAUSE_SECONDS = 0.05
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

    SQLite gives its lock to whichever connection tries next, which can starve a thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: deque[object] = deque()  # the first writes, the others wait

    def __len__(self) -> int:
        """The number of writers, including the active one."""
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
os.register_at_fork(after_in_child=_queues.clear)  # threads that have or await a turn are not forked


def writer_queue(engine: Engine) -> WriterQueue:
    """The queue of this process for a database in a file; a new one for a database in memory."""
    path = engine.url.database
    if not path or path == ":memory:":
        return WriterQueue()
    return _queues.setdefault(str(Path(path).absolute()), WriterQueue())


def begin_immediate(connection: Connection, deadline: float) -> None:
    """Begin a transaction with the write lock, waiting until `deadline` for other processes.

    Pauses are random, because with SQLite's fixed pauses a process can miss the lock for long.
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
        time.sleep(min(left, random.uniform(0, MAX_PAUSE_SECONDS)))


class Unwritable(sqlite3.Connection):
    """A read-only connection to a database on a full or read-only disk, used for one transaction."""


def _connect_sqlite(path: Path, wait: float) -> sqlite3.Connection:
    """A connection that can write, or else an `Unwritable` one: a WAL cannot even be read without writing to it.

    If the WAL is empty, as after a clean shutdown, the database is opened as immutable.
    """
    # SQLite would create a file that others can read. An existing one must not be opened here, since closing it would
    # release the locks of this process's connections. SQLite itself reports other errors.
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=wait, check_same_thread=False)
    try:
        _prepare_sqlite(connection)
        connection.execute("SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        has_no_log = path.exists() and path.stat().st_size > 0 and (not log.exists() or log.stat().st_size == 0)
        if error.sqlite_errorcode & 0xFF not in _CANNOT_WRITE or not has_no_log:
            raise
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        factory=Unwritable,
    )


def _drop_unwritable(connection: object, record: ConnectionPoolEntry) -> None:
    """Discard it, since the database may have changed, or the disk may be writable again."""
    if isinstance(connection, Unwritable):
        record.invalidate()


def _prepare_sqlite(connection: Any) -> None:
    """Set pragmas: WAL lets readers continue during a write; FULL makes commits survive a power failure."""
    connection.isolation_level = None  # transactions are begun by hand; BEGIN IMMEDIATE needs that
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except UnicodeDecodeError as error:  # SQLite quotes its damaged schema, and Python cannot read the message
        raise StoreCorrupt("the database is damaged beyond reading; restore a backup") from error


# The number of the connection, and its data version; versions of different connections cannot be compared.
Version = tuple[int, int]


class CommitWatch:
    """Commit counter: SQLite's `data_version` on a dedicated connection. Thread-safe.

    The number changes with every commit of any other connection in any process. This one never writes, so it sees all
    commits. PostgreSQL has no equivalent that is cheaper than a small query.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_supported = engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:")
        self._lock = threading.Lock()
        self._connection: Any = None
        self._process = 0
        self._opened = 0

    def version(self) -> Version | None:
        """A version that changes with every commit; None if it is unsupported or cannot be read now."""
        if not self._is_supported:
            return None
        with self._lock:
            return self._read_version()

    def poll_version(self) -> Version | None:
        """The same version without waiting, for the event loop; None also if another thread is reading it or no
        connection is open yet.
        """
        if self._connection is None or self._process != os.getpid() or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._read_version()
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _read_version(self) -> Version | None:
        """The caller has the lock."""
        try:
            if self._connection is None or self._process != os.getpid():
                self._open()
            if self._connection is None:
                return None
            return self._opened, self._connection.cursor().execute("PRAGMA data_version").fetchone()[0]
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
            self._connection = None
            return None  # the caller reads instead, and gets the error

    def _open(self) -> None:
        """Open a connection of this process, since connections must not cross a fork.

        An `Unwritable` one is not kept: it is immutable, so later commits would not change its number.
        """
        connection = self._engine.raw_connection()
        if isinstance(connection.dbapi_connection, Unwritable):
            connection.close()
            return
        connection.detach()
        connection.cursor().execute("PRAGMA busy_timeout = 0")  # the caller reads instead of waiting
        self._connection, self._process = connection, os.getpid()
        self._opened += 1


# How long a transaction waits for locks of others. Bulk jobs can wait; HTTP requests cannot.
BUSY_SECONDS = 60.0
_patience: ContextVar[float] = ContextVar("patience", default=BUSY_SECONDS)
_BUSY_TIMEOUT = "anyseek_busy_timeout"  # the key of the last setting in a pooled connection's `info`
# A writer that is silent for this long within its transaction hangs; PostgreSQL rolls it back, or others would wait.
SILENT_WRITER_SECONDS = 60


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the block, and in threads that it waits for, a transaction waits up to this long for a lock.

    After that it fails, which `anyseek.search.catalogue.failures` translates to `DatabaseBusy`.
    """
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


class _WriteSession(Session):
    """A session whose bulk updates and deletions do not synchronise loaded objects; readers reload them."""


@event.listens_for(_WriteSession, "do_orm_execute")
def _skip_synchronisation(state: ORMExecuteState) -> None:
    if state.is_update or state.is_delete:
        state.update_execution_options(synchronize_session=False)


def count_changed(session: Session, statement: Executable) -> int:
    """Execute an update or a deletion and return its row count."""
    return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]


class Database:
    """A catalogue. Each unit of work is one `read()` or `write()` block, committed or rolled back as a whole."""

    def __init__(self, url: str, patience_seconds: int | None = None) -> None:
        """`patience_seconds`: the longest wait for a lock, an answer or a connection, else the database's own."""
        self.url = url
        self._longest_wait = BUSY_SECONDS if patience_seconds is None else patience_seconds
        if url.startswith("sqlite"):
            self.engine = sqlite_engine(url, self._longest_wait)
        else:
            self.engine = _postgres_engine(url, patience_seconds)
        event.listen(self.engine, "handle_error", explain_interruption)
        self._commits = CommitWatch(self.engine)
        # SQLite's driver commits by itself already (`_prepare_sqlite`), and must not be told to again.
        self._single = self.engine
        if not url.startswith("sqlite"):
            self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a consistent, read-only view. Statements are interrupted when the request is over."""
        with time_stage(Stage.CATALOGUE), Session(self.engine) as session:
            if self.engine.dialect.name == "sqlite":
                self._set_busy_timeout(session.connection(), self._patience_seconds())
                session.connection().exec_driver_sql("BEGIN")
            else:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            with interruptible(session.connection()):
                yield session
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises.

        On SQLite it takes the write lock at once, so that two writers wait for each other instead of failing midway;
        writers of one process get it in FIFO order.
        PostgreSQL rolls it back after a silence of `SILENT_WRITER_SECONDS`; the block then raises `InternalError`.
        """
        sqlite = self.engine.dialect.name == "sqlite"
        deadline = time.monotonic() + self._patience_seconds()
        turn = writer_queue(self.engine).turn(self._patience_seconds()) if sqlite else nullcontext()
        with (
            time_stage(Stage.CATALOGUE),
            turn,
            _WriteSession(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            if sqlite:
                self._set_busy_timeout(session.connection(), 0)
                begin_immediate(session.connection(), deadline)
                self._set_busy_timeout(session.connection(), self._patience_seconds())
            else:
                session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{SILENT_WRITER_SECONDS}s'"))
                if _patience.get() < self._longest_wait:  # else the connection's own timeouts apply
                    session.execute(text(f"SET LOCAL lock_timeout = '{round(1000 * self._patience_seconds())}ms'"))
            yield session

    @contextmanager
    def once(self) -> Iterator[Connection]:
        """Open a connection for a single reading statement, which is consistent by itself.

        It costs less than half of `read()` on SQLite, and no extra round trip on PostgreSQL.
        """
        with time_stage(Stage.CATALOGUE), self._single.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                self._set_busy_timeout(connection, self._patience_seconds())
            yield connection

    def version(self) -> Version | None:
        """A version that changes with every commit of any process; None if it would cost as much as reading."""
        return self._commits.version()

    def poll_version(self) -> Version | None:
        """The same version, without waiting for other threads; None if it would have to wait."""
        return self._commits.poll_version()

    def close(self) -> None:
        self._commits.close()
        self.engine.dispose()

    def _set_busy_timeout(self, connection: Connection, seconds: float) -> None:
        """Set how long a connection to SQLite waits for locks; the connection keeps the value."""
        milliseconds = round(1000 * seconds)
        if connection.info.get(_BUSY_TIMEOUT) != milliseconds:  # a statement costs ten times as much as this check
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
            connection.info[_BUSY_TIMEOUT] = milliseconds

    def _patience_seconds(self) -> float:
        return min(_patience.get(), self._longest_wait)


def connection_of(reader: Session | Connection) -> Connection:
    """The connection of a session; a connection is returned as is."""
    return reader.connection() if isinstance(reader, Session) else reader


def _postgres_engine(url: str, patience_seconds: int | None) -> Engine:
    waits: dict[str, Any] = {}
    if patience_seconds is not None:  # the shorter lock timeout makes the error name the lock
        options = f"-c lock_timeout={500 * patience_seconds} -c statement_timeout={1000 * patience_seconds}"
        waits = {"connect_timeout": patience_seconds, "options": options}
    engine = create_engine(url, pool_pre_ping=True, connect_args=waits)
    event.listen(engine, "after_cursor_execute", _restart_idle_timer)
    return engine


def _restart_idle_timer(
    _connection: object, cursor: Any, _statement: str, _parameters: object, _context: object, executemany: bool
) -> None:
    """Restart PostgreSQL's idle timer, which stops after a batch of statements (psycopg's pipeline)."""
    if executemany:
        cursor.connection.execute("SELECT 1")
