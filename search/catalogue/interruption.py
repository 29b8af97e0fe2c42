"""Statements of requests that are over: of a client that has left, or of a filter that took too long."""

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, ExceptionContext, text
from sqlalchemy.orm import Session

from anyseek.model.modalities.reading.budget import current_budget, raise_if_abandoned

# Of a statement of SQLite, a few milliseconds, after which the request's budget is asked.
_STEPS = 100_000
_QUERY_CANCELED = "57014"  # what PostgreSQL says of a statement that took too long, too


@contextmanager
def interruptible(connection: Connection) -> Iterator[None]:
    """A block whose statements end when the request that they are for is over."""
    budget, driver = current_budget(), connection.connection.driver_connection
    if budget is None or driver is None:
        yield
    elif connection.dialect.name == "sqlite":
        driver.set_progress_handler(lambda: budget.is_filter_time_over, _STEPS)
        try:
            yield
        finally:
            driver.set_progress_handler(None, 0)
    else:
        cancelling = threading.Thread(target=driver.cancel, daemon=True)  # it connects, which would hold up others
        try:
            with budget.on_disconnect(cancelling.start):
                yield
        finally:
            if cancelling.ident is not None:  # begun: it must not meet the connection's next user
                cancelling.join()


def explain_interruption(context: ExceptionContext) -> None:
    """Raises what `raise_if_abandoned` raises for a statement that was interrupted."""
    error = context.original_exception
    of_sqlite = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
    if of_sqlite or getattr(error, "sqlstate", None) == _QUERY_CANCELED:
        raise_if_abandoned()


@contextmanager
def filter_deadline(session: Session, name: str) -> Iterator[None]:
    """A block that evaluates a filter within the seconds of the request's budget; errors call the filter `name`.

    SQLite itself asks the budget. PostgreSQL is told how long a statement may take.
    """
    budget = current_budget()
    if budget is None:
        yield
        return
    with budget.filtering(name) as seconds:
        raise_if_abandoned()
        limited = session.get_bind().dialect.name == "postgresql" and math.isfinite(seconds)
        if limited:
            session.execute(text(f"SET LOCAL statement_timeout = {math.ceil(1000 * seconds)}"))
        yield
        if limited:
            session.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
