"""Gauges of the whole installation for monitoring: jobs, their inputs, leases, quarantine."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, func, literal_column, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, leases, ledger
from anyseek.search.catalogue.jobs import ACTIVE
from anyseek.search.catalogue.leases import clock
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import CursorRow, JobRow, LedgerRow, OwnerRow, SnapshotLeaseRow

OTHER = "other"  # the reason code of inputs without one


@dataclass(frozen=True)
class Figures:
    """Counts of active jobs by state, their open inputs by state, and quarantined inputs by reason code.

    `leases` counts valid leases by what is leased, `owners` the live processes that work on jobs.
    """

    jobs: Mapping[str, int]
    inputs: Mapping[str, int]
    quarantined: Mapping[str, int]
    leases: Mapping[str, int]
    owners: int


def read_figures(session: Session) -> Figures:
    """Read the figures, from the open and quarantined rows of the ledger by its index, and a few others."""
    inputs = _inputs(session)
    now = clock(session)
    by_state = select(JobRow.state, func.count()).where(JobRow.state.in_(ACTIVE)).group_by(JobRow.state)
    jobs = {state.value: 0 for state in ACTIVE} | _counts_by(session, by_state)
    leases = {
        "inputs": inputs[ledger.LEASED],
        "snapshots": _count(session, SnapshotLeaseRow.expires_at > now),
        "cursors": _count(session, CursorRow.expires_at > now),
    }
    return Figures(jobs, inputs, _quarantined(session), leases, _count(session, OwnerRow.expires_at > now))


def _inputs(session: Session) -> dict[str, int]:
    active = select(JobRow.id).where(JobRow.state.in_(ACTIVE))
    open_states = (ledger.PENDING, ledger.LEASED)
    query = (
        select(LedgerRow.state, func.count())
        .where(LedgerRow.job_id.in_(active), LedgerRow.state.in_(open_states))
        .group_by(LedgerRow.state)
    )
    return dict.fromkeys(open_states, 0) | _counts_by(session, query)


def _quarantined(session: Session) -> dict[str, int]:
    """Quarantined inputs of all jobs by reason."""
    code = func.coalesce(LedgerRow.reason_code, literal_column(f"'{OTHER}'"))
    quarantined = (LedgerRow.job_id.in_(select(JobRow.id)), LedgerRow.state == ledger.QUARANTINED)
    return _counts_by(session, select(code, func.count()).where(*quarantined).group_by(code))


def _counts_by(session: Session, query: Select[str, int]) -> dict[str, int]:
    return {name: number for name, number in session.execute(query).all()}  # noqa: C416 (mypy knows no dict of rows)


def _count(session: Session, where: object) -> int:
    return session.scalar(select(func.count()).where(where)) or 0  # type: ignore[arg-type]


class _Rollback(Exception):
    """Raised to roll back the transaction of a probe."""


def probe_read(database: Database) -> int:
    """Read the collections' ids, and return how many there are. Raises SQLAlchemy's errors."""
    with database.read() as session:
        return len(collections.ids(session))


def probe_write(database: Database) -> None:
    """Write a row in a transaction that is rolled back. Raises SQLAlchemy's errors."""
    try:
        with database.write() as session:
            leases.renew(session, f"probe.{uuid.uuid4().hex}", timedelta(0))
            raise _Rollback
    except _Rollback:
        return
