"""Opening the catalogue's database and the two kinds of transaction: reading and writing.

Queries need less than a transaction: `once` is for a single statement, and `version` tells whether anything changed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session

from anyseek.search.catalogue.sqlite import CommitWatch, Version, begin_immediate, sqlite_engine, writer_queue
from anyseek.search.telemetry.metrics import Stage, timed

# How long a transaction waits for others that hold the database. A bulk job can wait; who asks over HTTP cannot.
BUSY_SECONDS = 60.0
_patience: ContextVar[float] = ContextVar("patience", default=BUSY_SECONDS)
_BUSY_TIMEOUT = "anyseek_busy_timeout"  # the key of what was set last in the `info` of a pooled connection
# A writer that is silent for this long within its transaction hangs; PostgreSQL rolls it back, or others would wait.
SILENT_WRITER_SECONDS = 60


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the block, and in threads that it waits for, a transaction waits this long for others.

    SQLite then says that it is locked, PostgreSQL that a lock timed out: `DatabaseBusy`
    (`anyseek.search.catalogue.failures`).
    """
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


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
        self._commits = CommitWatch(self.engine)
        # SQLite's driver commits by itself already (`_prepare_sqlite`), and must not be told to again.
        self._single = self.engine if url.startswith("sqlite") else _committing_by_itself(self.engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a consistent, read-only view."""
        with timed(Stage.CATALOGUE), Session(self.engine) as session:
            if self.engine.dialect.name == "sqlite":
                self._set_busy_timeout(session.connection(), self._patience_seconds())
                session.connection().exec_driver_sql("BEGIN")
            else:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back if the block raises.

        On SQLite it takes the write lock at once, so that two writers wait for each other instead of failing midway;
        those of one process get it in the order in which they came.
        PostgreSQL rolls it back after a silence of `SILENT_WRITER_SECONDS`; the block then raises `InternalError`.
        """
        sqlite = self.engine.dialect.name == "sqlite"
        deadline = time.monotonic() + self._patience_seconds()
        turn = writer_queue(self.engine).turn(self._patience_seconds()) if sqlite else nullcontext()
        with (
            timed(Stage.CATALOGUE),
            turn,
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            if sqlite:
                self._set_busy_timeout(session.connection(), 0)
                begin_immediate(session.connection(), deadline)
                self._set_busy_timeout(session.connection(), self._patience_seconds())
            else:
                session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{SILENT_WRITER_SECONDS}s'"))
                if _patience.get() < self._longest_wait:  # else as long as the connection says, or others are silent
                    session.execute(text(f"SET LOCAL lock_timeout = '{round(1000 * self._patience_seconds())}ms'"))
            yield session

    @contextmanager
    def once(self) -> Iterator[Connection]:
        """Open a connection for reading with one statement, which is a consistent view of its own.

        It costs less than half of `read()` on SQLite, and no further message on PostgreSQL.
        """
        with timed(Stage.CATALOGUE), self._single.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                self._set_busy_timeout(connection, self._patience_seconds())
            yield connection

    def version(self) -> Version | None:
        """A version that changes with every commit of any process; None where it would cost as much as reading."""
        return self._commits.version()

    def glance(self) -> Version | None:
        """The same version, without ever waiting for another thread; None where that would be needed."""
        return self._commits.glance()

    def close(self) -> None:
        self._commits.close()
        self.engine.dispose()

    def _set_busy_timeout(self, connection: Connection, seconds: float) -> None:
        """Set how long a connection to SQLite waits for locks; the connection keeps the value."""
        milliseconds = round(1000 * seconds)
        if connection.info.get(_BUSY_TIMEOUT) != milliseconds:  # a statement costs ten times as much as this look
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
            connection.info[_BUSY_TIMEOUT] = milliseconds

    def _patience_seconds(self) -> float:
        return min(_patience.get(), self._longest_wait)


def connection_of(reader: Session | Connection) -> Connection:
    """The connection of a session, or what is one already."""
    return reader.connection() if isinstance(reader, Session) else reader


def _committing_by_itself(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _postgres_engine(url: str, patience_seconds: int | None) -> Engine:
    waits = {} if patience_seconds is None else _impatience(patience_seconds)
    engine = create_engine(url, pool_pre_ping=True, connect_args=waits)
    event.listen(engine, "after_cursor_execute", _have_silence_counted)
    return engine


def _impatience(seconds: int) -> dict[str, Any]:
    # A lock is told by its name only if its time is up before that of the statement.
    options = f"-c lock_timeout={500 * seconds} -c statement_timeout={1000 * seconds}"
    return {"connect_timeout": seconds, "options": options}


def _have_silence_counted(
    _connection: object, cursor: Any, _statement: str, _parameters: object, _context: object, executemany: bool
) -> None:
    """After a batch of statements (psycopg's pipeline), PostgreSQL does not count silence until the next statement."""
    if executemany:
        cursor.connection.execute("SELECT 1")
