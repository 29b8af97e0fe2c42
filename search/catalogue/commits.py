"""Whether anything was committed to the catalogue, in a few microseconds."""

import os
import threading
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from anyseek.search.catalogue.sqlite import Unwritable

# The connection that was asked, and its number; numbers of two connections cannot be compared.
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
        """What is another one after every commit; None if the database does not tell, or cannot be asked now."""
        if not self._tells:
            return None
        with self._lock:
            return self._asked()

    def glance(self) -> Version | None:
        """As `version`, but None also where another thread asks, or a connection is yet to be opened.

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
