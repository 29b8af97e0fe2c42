"""The ledger: a job's row per input, leased by workers, from *pending* to *done* or *quarantined* with a reason.

pending ──lease──> leased ──> done | quarantined
   ^                  │
   └── worker died ───┘         carried: see `search.catalogue.listing`

The attempt is counted with the lease, before any work, so an input that kills its worker is known afterwards. Fresh
inputs are leased as a range; each input of a range that died is leased alone; one that then kills
`DEATHS_ALONE` workers is quarantined.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, bindparam, case, func, or_, select, update
from sqlalchemy.orm import Session

from search.catalogue.owners import clock
from search.catalogue.rows import chunks
from search.catalogue.tables import LedgerRow
from search.errors import LeaseLost

PENDING, LEASED, DONE, QUARANTINED, CARRIED = "pending", "leased", "done", "quarantined", "carried"
INDEXED, UNCHANGED, DUPLICATE = "indexed", "unchanged", "duplicate"

DEATHS_ALONE = 3
MOST_ATTEMPTS = 1 + DEATHS_ALONE  # one in a range, the others alone
DEADLY = "killed-its-worker"
DEADLY_REASON = f"the worker died {DEATHS_ALONE} times while it had nothing but this input"


@dataclass(frozen=True)
class Lease:
    """The right to settle one input, as long as nobody leased it after: `fence` is its number."""

    id: int
    uri: str
    key: str
    fence: int
    attempts: int


@dataclass(frozen=True)
class Span:
    """The inputs of a job whose ids lie from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class Settled:
    """What became of a leased input: an `outcome` if it is done, else why it is quarantined.

    A duplicate that is left out is done with a reason: which key has the same content.
    """

    lease: Lease
    outcome: str | None = None
    reason: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True)
class Failure:
    """A quarantined input, or one left out. `code` is stable, `reason` is a sentence."""

    id: int
    uri: str
    key: str
    code: str
    reason: str


@dataclass(frozen=True)
class Counts:
    indexed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    open: int = 0  # pending or leased
    skipped: int = 0  # left out, having the content of another key

    @property
    def settled(self) -> int:
        return self.indexed + self.unchanged + self.quarantined + self.skipped


def lease_range(
    session: Session, job_id: int, owner: str, limit: int, valid_for: timedelta, span: Span | None = None
) -> list[Lease]:
    """Lease up to `limit` inputs that nobody has tried yet, of the whole job or of `span`."""
    fresh = _pending(LedgerRow.attempts == 0, *_within(span), job_id=job_id).order_by(LedgerRow.id).limit(limit)
    return _lease(session, fresh, owner, valid_for)


def lease_suspect(
    session: Session, job_id: int, owner: str, valid_for: timedelta, span: Span | None = None
) -> Lease | None:
    """Lease one input that was being worked on when a worker died, the least suspected one.

    The caller has nothing else under way meanwhile, so that a further death can only be this input's doing.
    """
    suspects = _pending(LedgerRow.attempts > 0, *_within(span), job_id=job_id)
    least = suspects.order_by(LedgerRow.attempts, LedgerRow.id).limit(1)
    return next(iter(_lease(session, least, owner, valid_for)), None)


def unclaimed(session: Session, job_id: int, size: int) -> list[Span]:
    """The spans of `size` ids, always cut at the same ids, that have pending inputs and none that is leased."""
    number, leased = LedgerRow.id // size, func.sum(case((LedgerRow.state == LEASED, 1), else_=0))
    open_inputs = (LedgerRow.job_id == job_id, LedgerRow.state.in_((PENDING, LEASED)))
    found = session.scalars(select(number).where(*open_inputs).group_by(number).having(leased == 0).order_by(number))
    return [Span(one * size, (one + 1) * size - 1) for one in found]


def void(session: Session, job_id: int, is_alive: Callable[[str], bool]) -> int:
    """Take back leases that are past their time or whose owner is gone (`indexer.owner`); return how many.

    Inputs that have killed their worker often enough are quarantined.
    """
    of_job = (LedgerRow.job_id == job_id, LedgerRow.state == LEASED)
    owners = session.scalars(select(LedgerRow.owner).where(*of_job).distinct()).all()
    gone = [owner for owner in owners if owner is None or not is_alive(owner)]
    lost = (*of_job, or_(LedgerRow.owner.in_(gone), LedgerRow.lease_expires < clock(session)))
    worn = session.execute(
        update(LedgerRow)
        .where(*lost, LedgerRow.attempts >= MOST_ATTEMPTS)
        .values(state=QUARANTINED, owner=None, reason=DEADLY_REASON, reason_code=DEADLY)
        .execution_options(synchronize_session=False)
    )
    back = session.execute(
        update(LedgerRow).where(*lost).values(state=PENDING, owner=None).execution_options(synchronize_session=False)
    )
    return int(worn.rowcount + back.rowcount)  # type: ignore[attr-defined]


def settle(session: Session, settled: Sequence[Settled]) -> None:
    """Close leased inputs, in the transaction that writes their items.

    Raises `LeaseLost` if any lease is no longer the newest of its input: then nothing of the transaction may stay.
    """
    check(session, [one.lease for one in settled])
    values = [
        {
            "row": one.lease.id,
            "new_state": DONE if one.outcome else QUARANTINED,
            "new_outcome": one.outcome,
            "why": one.reason,
            "why_code": one.reason_code,
        }
        for one in settled
    ]
    statement = (
        update(LedgerRow)
        .where(LedgerRow.id == bindparam("row"))
        .values(
            state=bindparam("new_state"),
            outcome=bindparam("new_outcome"),
            reason=bindparam("why"),
            reason_code=bindparam("why_code"),
            owner=None,
        )
    )
    if values:
        session.connection().execute(statement, values)


def check(session: Session, leases: Sequence[Lease]) -> None:
    """Raises `LeaseLost` unless every lease is still the newest of its input."""
    for some in chunks(leases):
        query = select(LedgerRow.id, LedgerRow.fence).where(LedgerRow.id.in_([held.id for held in some]))
        rows = session.execute(query.where(LedgerRow.state == LEASED).with_for_update())
        if {(row.id, row.fence) for row in rows} != {(held.id, held.fence) for held in some}:
            raise LeaseLost("another worker took over these inputs; what was done here is dropped")


def give_back(session: Session, leases: Sequence[Lease]) -> None:
    """Return inputs unharmed by a worker that stops; the attempt does not count."""
    for held in leases:
        session.execute(
            update(LedgerRow)
            .where(LedgerRow.id == held.id, LedgerRow.fence == held.fence, LedgerRow.state == LEASED)
            .values(state=PENDING, owner=None, attempts=held.attempts - 1)
        )


def reopen(session: Session, job_id: int) -> int:
    """Have quarantined inputs be tried again, and return how many; those that the scan refused need a new scan.

    One that killed its worker stays suspected: it is tried alone.
    """
    refused = (LedgerRow.job_id == job_id, LedgerRow.state == QUARANTINED, LedgerRow.attempts > 0)
    attempts = case((LedgerRow.reason_code == DEADLY, 1), else_=0)
    reopened = session.execute(
        update(LedgerRow)
        .where(*refused)
        .values(state=PENDING, attempts=attempts, reason=None, reason_code=None)
        .execution_options(synchronize_session=False)
    )
    return int(reopened.rowcount)  # type: ignore[attr-defined]


def counts(session: Session, job_id: int) -> Counts:
    """How many inputs are where. Reads every row of the job."""
    rows = session.execute(
        select(LedgerRow.state, LedgerRow.outcome, func.count())
        .where(LedgerRow.job_id == job_id)
        .group_by(LedgerRow.state, LedgerRow.outcome)
    )
    numbers = {(state, outcome): count for state, outcome, count in rows}
    waiting = sum(count for (state, _), count in numbers.items() if state in (PENDING, LEASED))
    quarantined = numbers.get((QUARANTINED, None), 0)
    indexed, unchanged, skipped = (numbers.get((DONE, one), 0) for one in (INDEXED, UNCHANGED, DUPLICATE))
    return Counts(indexed, unchanged, quarantined, waiting, skipped)


def has_open(session: Session, job_id: int) -> bool:
    """Whether any input is pending or leased."""
    where = (LedgerRow.job_id == job_id, LedgerRow.state.in_((PENDING, LEASED)))
    return session.scalar(select(LedgerRow.id).where(*where).limit(1)) is not None


def failures(session: Session, job_id: int, after_id: int = 0, limit: int = 500) -> list[Failure]:
    """The next `limit` quarantined inputs; `after_id` is the last id of the page before."""
    return _told(session, job_id, LedgerRow.state == QUARANTINED, after_id, limit)


def skipped(session: Session, job_id: int, after_id: int = 0, limit: int = 500) -> list[Failure]:
    """As `failures`, of the inputs that were left out as duplicates; the reason says of which key."""
    return _told(session, job_id, LedgerRow.outcome == DUPLICATE, after_id, limit)


def _told(session: Session, job_id: int, which: ColumnElement[bool], after_id: int, limit: int) -> list[Failure]:
    rows = session.execute(
        select(LedgerRow.id, LedgerRow.uri, LedgerRow.key, LedgerRow.reason_code, LedgerRow.reason)
        .where(LedgerRow.job_id == job_id, which, LedgerRow.id > after_id)
        .order_by(LedgerRow.id)
        .limit(limit)
    )
    return [Failure(row.id, row.uri, row.key, row.reason_code or "", row.reason or "") for row in rows]


def has_failure(session: Session, job_id: int, code: str) -> bool:
    """Whether any input was quarantined with the reason `code`."""
    where = (LedgerRow.job_id == job_id, LedgerRow.state == QUARANTINED, LedgerRow.reason_code == code)
    return session.scalar(select(LedgerRow.id).where(*where).limit(1)) is not None


def present(session: Session, job_id: int, keys: Iterable[str]) -> set[str]:
    """Those of `keys` that some input of the job has."""
    found: set[str] = set()
    for some in chunks(list(keys)):
        query = select(LedgerRow.key).where(LedgerRow.job_id == job_id, LedgerRow.key.in_(some))
        found.update(session.scalars(query))
    return found


def quarantined_uris(session: Session, job_id: int, uris: Iterable[str]) -> set[str]:
    """Those of `uris` that are quarantined."""
    return {uri for uri, state in states(session, job_id, list(uris)).items() if state == QUARANTINED}


def states(session: Session, job_id: int, uris: Sequence[str]) -> dict[str, str]:
    """The state of those of `uris` that the job has."""
    found: dict[str, str] = {}
    for some in chunks(uris):
        query = select(LedgerRow.uri, LedgerRow.state).where(LedgerRow.job_id == job_id, LedgerRow.uri.in_(some))
        found.update((row.uri, row.state) for row in session.execute(query))
    return found


def _within(span: Span | None) -> tuple[ColumnElement[bool], ...]:
    return () if span is None else (LedgerRow.id.between(span.first, span.last),)


def _pending(*where: ColumnElement[bool], job_id: int) -> "Select[int, str, str, int, int]":
    columns = (LedgerRow.id, LedgerRow.uri, LedgerRow.key, LedgerRow.fence + 1, LedgerRow.attempts + 1)
    query = select(*columns).where(LedgerRow.job_id == job_id, LedgerRow.state == PENDING, *where)
    return query.with_for_update(skip_locked=True)


def _lease(session: Session, query: "Select[int, str, str, int, int]", owner: str, valid_for: timedelta) -> list[Lease]:
    """Lease what `query` finds; the attempt counts from now on."""
    leases = [Lease(*row) for row in session.execute(query)]
    values = [{"row": held.id, "held_fence": held.fence, "tried": held.attempts} for held in leases]
    statement = (
        update(LedgerRow)
        .where(LedgerRow.id == bindparam("row"))
        .values(
            state=LEASED,
            owner=owner,
            fence=bindparam("held_fence"),
            attempts=bindparam("tried"),
            lease_expires=clock(session) + valid_for,
        )
    )
    if values:
        session.connection().execute(statement, values)
    return leases
