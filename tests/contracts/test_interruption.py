"""Statements end when their request is over, on every database, and leave the connection as it was."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from anyseek.api.service import RequestAbandoned, RequestBudget
from anyseek.model.modalities.reading.budget import Budget, use_budget
from anyseek.search.catalogue.interruption import filter_deadline
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import LimitExceeded

COUNT = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE {}) SELECT count(*) FROM n"
ENDLESS, LONG = text(COUNT.format("x > 0")), text(COUNT.format("x < 300000"))
_RUNNING = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'WITH RECURSIVE%'")


def _assert_sound(database: Database) -> None:
    with database.read() as session:
        assert session.scalar(LONG) == 300_000


def test_a_filter_ends_when_the_seconds_are_over(database: Database) -> None:
    with use_budget(Budget(0, 0.0, 0.1)):
        for name, statement in (("the filter on 'n'", ENDLESS), ("the next one", text("SELECT 1"))):
            refused = pytest.raises(LimitExceeded, match=f"{name} is not evaluated after 0.1 s")
            with refused, database.read() as session, filter_deadline(session, name):
                session.execute(statement)
        _assert_sound(database)


def test_what_follows_a_filter_may_take_longer(database: Database) -> None:
    now = [0.0]
    with use_budget(Budget(0, 0.0, 0.001, clock=lambda: now[0])), database.read() as session:
        with filter_deadline(session, "a"):
            pass
        now[0] = 60.0
        assert session.scalar(LONG) == 300_000


def test_a_statement_ends_when_the_client_leaves(database: Database) -> None:
    budget = RequestBudget(0, 0.0)

    def work() -> None:
        with use_budget(budget), database.read() as session:
            session.execute(ENDLESS)

    with ThreadPoolExecutor(1) as pool:
        ends = pool.submit(work)
        _until(lambda: _runs(database))
        budget.abandon()
        assert isinstance(ends.exception(60), RequestAbandoned)
    _assert_sound(database)


def _runs(database: Database) -> bool:
    """Whether the statement has begun; SQLite asks again and again, so there it does not matter."""
    if database.engine.dialect.name == "sqlite":
        return True
    with database.read() as session:
        return session.scalar(_RUNNING) == 1


def _until(is_so: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_the_budget_of_a_request_adds_nothing_but_abandon() -> None:
    """The catalogue calls the methods of any `Budget`; one that only a request's has would never be called."""
    public = {name for name in vars(RequestBudget) if not name.startswith("_")}
    assert public - vars(Budget).keys() == {"abandon"}
