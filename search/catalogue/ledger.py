"""The ledger: a job's row per input, leased by workers, from *pending* to *done* or *quarantined* with a reason.

pending ──lease──> leased ──> done | quarantined
   ^                  │
   └── worker died ───┘         carried

Leasing counts as an attempt before any work is done, so an input that kills its worker can be identified. Fresh
inputs are leased as a range; each input of a range that died is leased alone; one that then kills
`MAX_SOLO_DEATHS` workers is quarantined.

A scan of the folder lists inputs. The scan of an adopted job keeps only the *carried* inputs, which a worker that died
was processing. They keep their count of attempts, and are removed if the new scan does not find them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, case, func, insert, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.search.catalogue.leases import clock
from anyseek.search.catalogue.session import count_changed
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.catalogue.values import chunks, rows_in
from anyseek.search.errors import LeaseLost

PENDING, LEASED, DONE, QUARANTINED, CARRIED = "pending", "leased", "done", "quarantined", "carried"
INDEXED, UNCHANGED, DUPLICATE = "indexed", "unchanged", "duplicate"

MAX_SOLO_DEATHS = 3
MAX_ATTEMPTS = 1 + MAX_SOLO_DEATHS  # one in a range, then alone
DEADLY = "killed-its-worker"
DEADLY_REASON = f"the worker died {MAX_SOLO_DEATHS} times while it had nothing but this input"
_DEADLY_VALUES = {"state": QUARANTINED, "reason": DEADLY_REASON, "reason_code": DEADLY}
DUPLICATE_KEY = "duplicate-key"


@dataclass(frozen=True)
class NewInput:
    """An input that a scan found; one with a `reason` is quarantined at once, one with an `outcome` is done."""

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class Lease:
    """The right to settle one input, until another lease of it; `fence` is the number of the lease."""

    id: int
    uri: str
    key: str
    fence: int
    attempts: int


@dataclass(frozen=True)
class Span:
    """The inputs of a job with ids from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class InputResult:
    """The result of a leased input: an `outcome` if it is done, else the reason for its quarantine.

    A skipped duplicate is done, and its reason names the key with the same content.
    """

    lease: Lease
    outcome: str | None = None
    reason: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True)
class Failure:
    """A quarantined or skipped input. `code` is stable, `reason` is a sentence."""

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
    skipped: int = 0  # because another key has the same content

    @property
    def settled(self) -> int:
        return self.indexed + self.unchanged + self.quarantined + self.skipped


def add(session: Session, job_id: int, inputs: Sequence[NewInput]) -> int:
    """Add inputs that a scan found to the ledger, each uri only once; return how many of them are quarantined.

    An input with the key of an earlier input of the job is quarantined; a carried suspect becomes pending again.
    """
    refused = 0
    for batch in chunks(list({new.uri: new for new in inputs}.values())):
        known = _states(session, job_id, [new.uri for new in batch])
        uris_by_key = _holders(session, job_id, [new.key for new in batch])
        rows = [_row(job_id, new, uris_by_key) for new in batch if new.uri not in known]
        if rows:
            session.execute(insert(LedgerRow), rows)
        refused += sum(row["state"] == QUARANTINED for row in rows)
        _revive(session, job_id, [uri for uri, state in known.items() if state == CARRIED])
    return refused


def carry_over(session: Session, job_id: int) -> None:
    """Discard the inputs of an interrupted scan, except those suspected of having killed a worker."""
    suspect = or_(LedgerRow.state.in_((LEASED, CARRIED)), LedgerRow.reason_code == DEADLY)
    waiting = (LedgerRow.state == PENDING) & (LedgerRow.attempts > 0)
    of_job = LedgerRow.job_id == job_id
    carried = {"state": CARRIED, "owner": None, "reason": None, "reason_code": None}
    session.execute(update(LedgerRow).where(of_job, or_(suspect, waiting)).values(carried))
    session.execute(delete_rows(LedgerRow).where(of_job, LedgerRow.state != CARRIED))


def has_refused(session: Session, job_id: int) -> bool:
    """True if an input was quarantined unread, so that its key may be unknown."""
    unread = (LedgerRow.state == QUARANTINED, LedgerRow.attempts == 0, LedgerRow.reason_code != DUPLICATE_KEY)
    return _has(session, job_id, *unread)


def drop_carried(session: Session, job_id: int) -> None:
    """Remove the suspects that a complete scan did not find."""
    session.execute(delete_rows(LedgerRow).where(LedgerRow.job_id == job_id, LedgerRow.state == CARRIED))


def lease_range(
    session: Session, job_id: int, owner: str, limit: int, valid_for: timedelta, span: Span | None = None
) -> list[Lease]:
    """Lease up to `limit` untried inputs of the whole job or of `span`."""
    fresh = _pending(LedgerRow.attempts == 0, *_within(span), job_id=job_id).order_by(LedgerRow.id).limit(limit)
    return _lease(session, fresh, owner, valid_for)


def lease_suspect(
    session: Session, job_id: int, owner: str, valid_for: timedelta, span: Span | None = None
) -> Lease | None:
    """Lease the input with the fewest attempts among those being processed when a worker died.

    The caller must do nothing else in the meantime, so that only this input can cause a further death.
    """
    suspects = _pending(LedgerRow.attempts > 0, *_within(span), job_id=job_id)
    least = suspects.order_by(LedgerRow.attempts, LedgerRow.id).limit(1)
    return next(iter(_lease(session, least, owner, valid_for)), None)


def unclaimed_spans(session: Session, job_id: int, size: int) -> list[Span]:
    """The spans of `size` ids, always cut at the same ids, that have pending inputs and no leased ones."""
    number, leased = LedgerRow.id // size, func.sum(case((LedgerRow.state == LEASED, 1), else_=0))
    open_inputs = (LedgerRow.job_id == job_id, LedgerRow.state.in_((PENDING, LEASED)))
    numbers = session.scalars(select(number).where(*open_inputs).group_by(number).having(leased == 0).order_by(number))
    return [Span(number * size, (number + 1) * size - 1) for number in numbers]


def revoke_lost_leases(session: Session, job_id: int, is_alive: Callable[[str], bool]) -> int:
    """Revoke leases that have expired or whose owner is gone (`anyseek.indexer.runs`); return how many.

    Inputs that have killed their worker often enough are quarantined.
    """
    of_job = (LedgerRow.job_id == job_id, LedgerRow.state == LEASED)
    owners = session.scalars(select(LedgerRow.owner).where(*of_job).distinct()).all()
    dead = [owner for owner in owners if owner is None or not is_alive(owner)]
    lost = (*of_job, or_(LedgerRow.owner.in_(dead), LedgerRow.lease_expires < clock(session)))
    revoked = update(LedgerRow).where(*lost)
    quarantined = count_changed(
        session, revoked.where(LedgerRow.attempts >= MAX_ATTEMPTS).values(**_DEADLY_VALUES, owner=None)
    )
    return quarantined + count_changed(session, revoked.values(state=PENDING, owner=None))


def settle(session: Session, settled: Sequence[InputResult]) -> None:
    """Mark leased inputs as settled, in the transaction that writes their items.

    Raises `LeaseLost` if any lease is no longer the newest of its input; the transaction must then be rolled back.
    """
    check(session, [result.lease for result in settled])
    values = [
        {
            "id": result.lease.id,
            "state": DONE if result.outcome else QUARANTINED,
            "outcome": result.outcome,
            "reason": result.reason,
            "reason_code": result.reason_code,
            "owner": None,
        }
        for result in settled
    ]
    if values:
        session.execute(update(LedgerRow), values)


def check(session: Session, leases: Sequence[Lease]) -> None:
    """Raises `LeaseLost` unless every lease is still the newest of its input."""
    for batch in chunks(leases):
        query = select(LedgerRow.id, LedgerRow.fence).where(LedgerRow.id.in_([lease.id for lease in batch]))
        rows = session.execute(query.where(LedgerRow.state == LEASED).with_for_update())
        if {(row.id, row.fence) for row in rows} != {(lease.id, lease.fence) for lease in batch}:
            raise LeaseLost("another worker took over these inputs; the work done here is dropped")


def return_leases(session: Session, leases: Sequence[Lease]) -> None:
    """Return the unfinished inputs of a worker that stops; the attempt does not count."""
    for lease in leases:
        session.execute(
            update(LedgerRow)
            .where(LedgerRow.id == lease.id, LedgerRow.fence == lease.fence, LedgerRow.state == LEASED)
            .values(state=PENDING, owner=None, attempts=lease.attempts - 1)
        )


def reopen(session: Session, job_id: int) -> int:
    """Make quarantined inputs pending again, and return how many; those that the scan refused need a new scan.

    An input that killed its worker stays suspected and is tried alone.
    """
    refused = (LedgerRow.job_id == job_id, LedgerRow.state == QUARANTINED, LedgerRow.attempts > 0)
    attempts = case((LedgerRow.reason_code == DEADLY, 1), else_=0)
    pending = {"state": PENDING, "attempts": attempts, "reason": None, "reason_code": None}
    return count_changed(session, update(LedgerRow).where(*refused).values(pending))


def counts(session: Session, job_id: int) -> Counts:
    """The number of inputs in each state. Reads every row of the job."""
    rows = session.execute(
        select(LedgerRow.state, LedgerRow.outcome, func.count())
        .where(LedgerRow.job_id == job_id)
        .group_by(LedgerRow.state, LedgerRow.outcome)
    )
    numbers = {(state, outcome): count for state, outcome, count in rows}
    waiting = sum(count for (state, _), count in numbers.items() if state in (PENDING, LEASED))
    quarantined = numbers.get((QUARANTINED, None), 0)
    indexed, unchanged, list_skipped = (numbers.get((DONE, outcome), 0) for outcome in (INDEXED, UNCHANGED, DUPLICATE))
    return Counts(indexed, unchanged, quarantined, waiting, list_skipped)


def has_open(session: Session, job_id: int) -> bool:
    """True if an input is pending or leased."""
    return _has(session, job_id, LedgerRow.state.in_((PENDING, LEASED)))


def list_failures(session: Session, job_id: int, after_id: int = 0, limit: int = 500) -> list[Failure]:
    """The next `limit` quarantined inputs; `after_id` is the last id of the page before."""
    return _failures(session, job_id, LedgerRow.state == QUARANTINED, after_id, limit)


def list_skipped(session: Session, job_id: int, after_id: int = 0, limit: int = 500) -> list[Failure]:
    """The next inputs that were left out as duplicates; the reason names the other key."""
    return _failures(session, job_id, LedgerRow.outcome == DUPLICATE, after_id, limit)


def _failures(session: Session, job_id: int, which: ColumnElement[bool], after_id: int, limit: int) -> list[Failure]:
    rows = session.execute(
        select(LedgerRow.id, LedgerRow.uri, LedgerRow.key, LedgerRow.reason_code, LedgerRow.reason)
        .where(LedgerRow.job_id == job_id, which, LedgerRow.id > after_id)
        .order_by(LedgerRow.id)
        .limit(limit)
    )
    return [Failure(row.id, row.uri, row.key, row.reason_code or "", row.reason or "") for row in rows]


def has_failure(session: Session, job_id: int, code: str) -> bool:
    """True if an input was quarantined with the reason `code`."""
    return _has(session, job_id, LedgerRow.state == QUARANTINED, LedgerRow.reason_code == code)


def _has(session: Session, job_id: int, *where: ColumnElement[bool]) -> bool:
    return session.scalar(select(LedgerRow.id).where(LedgerRow.job_id == job_id, *where).limit(1)) is not None


def keys_of_inputs(session: Session, job_id: int, keys: Iterable[str]) -> set[str]:
    """The `keys` that belong to an input of the job."""
    of_job = select(LedgerRow.key).where(LedgerRow.job_id == job_id)
    return {row.key for row in rows_in(session, of_job, LedgerRow.key, list(keys))}


def quarantined_uris(session: Session, job_id: int, uris: Iterable[str]) -> set[str]:
    """The `uris` that are quarantined."""
    return {uri for uri, state in _states(session, job_id, list(uris)).items() if state == QUARANTINED}


def _states(session: Session, job_id: int, uris: Sequence[str]) -> dict[str, str]:
    """The state of each of `uris` that belongs to the job."""
    of_job = select(LedgerRow.uri, LedgerRow.state).where(LedgerRow.job_id == job_id)
    return {row.uri: row.state for row in rows_in(session, of_job, LedgerRow.uri, uris)}


def _within(span: Span | None) -> tuple[ColumnElement[bool], ...]:
    return () if span is None else (LedgerRow.id.between(span.first, span.last),)


def _pending(*where: ColumnElement[bool], job_id: int) -> "Select[int, str, str, int, int]":
    columns = (LedgerRow.id, LedgerRow.uri, LedgerRow.key, LedgerRow.fence + 1, LedgerRow.attempts + 1)
    query = select(*columns).where(LedgerRow.job_id == job_id, LedgerRow.state == PENDING, *where)
    return query.with_for_update(skip_locked=True)


def _lease(session: Session, query: "Select[int, str, str, int, int]", owner: str, valid_for: timedelta) -> list[Lease]:
    """Lease the inputs that `query` finds, and count an attempt for each."""
    leases = [Lease(*row) for row in session.execute(query)]
    leased = {"state": LEASED, "owner": owner, "lease_expires": clock(session) + valid_for}
    if leases:
        updates = [{"id": lease.id, "fence": lease.fence, "attempts": lease.attempts} for lease in leases]
        session.execute(update(LedgerRow), [leased | numbers for numbers in updates])
    return leases


def _holders(session: Session, job_id: int, keys: Sequence[str]) -> dict[str, str]:
    """The uri of the input with each key."""
    query = select(LedgerRow.key, LedgerRow.uri).where(
        LedgerRow.job_id == job_id, LedgerRow.key.in_(keys), LedgerRow.state != CARRIED
    )
    return {row.key: row.uri for row in session.execute(query)}


def _row(job_id: int, new: NewInput, uris_by_key: dict[str, str]) -> dict[str, object]:
    """The new row's values; its key is added to `uris_by_key`."""
    reason, code = new.reason, new.reason_code
    if reason is None and uris_by_key.setdefault(new.key, new.uri) != new.uri:
        reason = f"{new.uri} has the key {new.key!r}, which {uris_by_key[new.key]} already has; give each its own key"
        code = DUPLICATE_KEY
    outcome = new.outcome if reason is None else None
    state = QUARANTINED if reason is not None else DONE if outcome else PENDING
    return {
        "job_id": job_id,
        "uri": new.uri,
        "key": new.key,
        "state": state,
        "outcome": outcome,
        "reason": reason,
        "reason_code": code,
    }


def _revive(session: Session, job_id: int, uris: Sequence[str]) -> None:
    """Make carried suspects pending again; one that killed too many workers is quarantined."""
    of_uris = (LedgerRow.job_id == job_id, LedgerRow.uri.in_(uris))
    worn = LedgerRow.attempts >= MAX_ATTEMPTS
    session.execute(update(LedgerRow).where(*of_uris, ~worn).values(state=PENDING))
    session.execute(update(LedgerRow).where(*of_uris, worn).values(_DEADLY_VALUES))
