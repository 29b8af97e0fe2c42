"""Interrupts statements of requests that are over: the client has disconnected, or a filter took too long."""

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, ExceptionContext, text
from sqlalchemy.orm import Session

from anyseek.model.modalities.reading.budget import current_budget, raise_if_abandoned

# Steps of SQLite's virtual machine, a few milliseconds, between checks of the request's budget.
_STEPS = 100_000
_QUERY_CANCELED = "57014"  # PostgreSQL's code, also for a statement timeout


@contextmanager
def interruptible(connection: Connection) -> Iterator[None]:
    """Within the block, statements are interrupted when their request is over."""
    budget, driver = current_budget(), connection.connection.driver_connection
    if budget is None or driver is None:
        yield
    elif connection.dialect.name == "sqlite":
        driver.set_progress_handler(lambda: budget.is_over, _STEPS)
        try:
            yield
        finally:
            driver.set_progress_handler(None, 0)
    else:
        canceller = threading.Thread(target=driver.cancel, daemon=True)  # because it connects, which takes time
        try:
            with budget.on_abandon(canceller.start):
                yield
        finally:
            if canceller.ident is not None:  # started: it must not cancel a statement of the connection's next user
                canceller.join()


def explain_interruption(context: ExceptionContext) -> None:
    """For an interrupted statement, raise what `raise_if_abandoned` raises."""
    error = context.original_exception
    by_sqlite = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
    if by_sqlite or getattr(error, "sqlstate", None) == _QUERY_CANCELED:
        raise_if_abandoned()


@contextmanager
def filter_deadline(session: Session, name: str) -> Iterator[None]:
    """Limit the block to the filter seconds left in the request's budget; errors call the filter `name`.

    SQLite checks the budget while a statement runs. PostgreSQL gets a statement timeout.
    """
    budget = current_budget()
    if budget is None:
        yield
        return
    with budget.filtering(name) as seconds:
        raise_if_abandoned()
        has_timeout = session.get_bind().dialect.name == "postgresql" and math.isfinite(seconds)
        if has_timeout:
            session.execute(text(f"SET LOCAL statement_timeout = {math.ceil(1000 * seconds)}"))
        yield
        if has_timeout:
            session.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
