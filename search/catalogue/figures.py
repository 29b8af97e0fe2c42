"""Numbers of the whole installation, for those who watch it: jobs, their inputs, leases, quarantine."""

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
    """`jobs`: active ones by state; `inputs`: theirs that are open, by state; `quarantined`: inputs by reason code.

    `leases`: valid ones by what is leased; `owners`: processes that work on jobs and are heard of.
    """

    jobs: Mapping[str, int]
    inputs: Mapping[str, int]
    quarantined: Mapping[str, int]
    leases: Mapping[str, int]
    owners: int


def read_figures(session: Session) -> Figures:
    """Reads the open and the quarantined rows of the ledger, by its index, and a few others."""
    inputs = _inputs(session)
    now = clock(session)
    by_state = select(JobRow.state, func.count()).where(JobRow.state.in_(ACTIVE)).group_by(JobRow.state)
    jobs = {state.value: 0 for state in ACTIVE} | _numbers(session, by_state)
    leases = {
        "inputs": inputs[ledger.LEASED],
        "snapshots": _count(session, SnapshotLeaseRow.expires_at > now),
        "cursors": _count(session, CursorRow.expires_at > now),
    }
    return Figures(jobs, inputs, _quarantined(session), leases, _count(session, OwnerRow.expires_at > now))


def _inputs(session: Session) -> dict[str, int]:
    active = select(JobRow.id).where(JobRow.state.in_(ACTIVE))
    opened = (ledger.PENDING, ledger.LEASED)
    query = (
        select(LedgerRow.state, func.count())
        .where(LedgerRow.job_id.in_(active), LedgerRow.state.in_(opened))
        .group_by(LedgerRow.state)
    )
    return dict.fromkeys(opened, 0) | _numbers(session, query)


def _quarantined(session: Session) -> dict[str, int]:
    """Quarantined inputs of all jobs by reason."""
    code = func.coalesce(LedgerRow.reason_code, literal_column(f"'{OTHER}'"))
    quarantined = (LedgerRow.job_id.in_(select(JobRow.id)), LedgerRow.state == ledger.QUARANTINED)
    return _numbers(session, select(code, func.count()).where(*quarantined).group_by(code))


def _numbers(session: Session, query: Select[str, int]) -> dict[str, int]:
    return {name: number for name, number in session.execute(query).all()}  # noqa: C416 (mypy knows no dict of rows)


def _count(session: Session, where: object) -> int:
    return session.scalar(select(func.count()).where(where)) or 0  # type: ignore[arg-type]


class _Undo(Exception):
    """Ends the transaction of a probe, so that it is rolled back."""


def probe_read(database: Database) -> int:
    """Read the collections' ids, and return how many there are. Raises SQLAlchemy's errors."""
    with database.read() as session:
        return len(collections.ids(session))


def probe_write(database: Database) -> None:
    """Write a row in a transaction that is rolled back. Raises SQLAlchemy's errors."""
    try:
        with database.write() as session:
            leases.renew(session, f"probe.{uuid.uuid4().hex}", timedelta(0))
            raise _Undo
    except _Undo:
        return
