"""How inputs get into a job's ledger: a scan of the folder lists them, and an adopted job is scanned anew.

A scan starts from nothing but the *carried* inputs: those that were being worked on when a worker died. They keep
their count of attempts, and go when the new scan does not meet them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete as delete_rows
from sqlalchemy import insert, or_, select, update
from sqlalchemy.orm import Session

from search.catalogue.ledger import CARRIED, DEADLY, DEADLY_REASON, LEASED, MOST_ATTEMPTS, PENDING, QUARANTINED, states
from search.catalogue.rows import chunks
from search.catalogue.tables import LedgerRow

DUPLICATE_KEY = "duplicate-key"


@dataclass(frozen=True)
class NewInput:
    """An input that a scan met; with `reason` one that is quarantined at once."""

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None


def add(session: Session, job_id: int, inputs: Sequence[NewInput]) -> None:
    """List inputs that a scan met, each uri once however often it is met.

    A key that an earlier input of the job has is quarantined; a carried suspect becomes pending again.
    """
    for some in chunks(list({new.uri: new for new in inputs}.values())):
        known = states(session, job_id, [new.uri for new in some])
        taken = _holders(session, job_id, [new.key for new in some])
        rows = [_row(job_id, new, taken) for new in some if new.uri not in known]
        if rows:
            session.execute(insert(LedgerRow), rows)
        _revive(session, job_id, [uri for uri, state in known.items() if state == CARRIED])


def carry_over(session: Session, job_id: int) -> None:
    """Forget an interrupted scan, but not who is suspected of having killed a worker."""
    suspect = or_(LedgerRow.state.in_((LEASED, CARRIED)), LedgerRow.reason_code == DEADLY)
    waiting = (LedgerRow.state == PENDING) & (LedgerRow.attempts > 0)
    of_job = LedgerRow.job_id == job_id
    session.execute(
        update(LedgerRow)
        .where(of_job, or_(suspect, waiting))
        .values(state=CARRIED, owner=None, reason=None, reason_code=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        delete_rows(LedgerRow).where(of_job, LedgerRow.state != CARRIED).execution_options(synchronize_session=False)
    )


def has_refused(session: Session, job_id: int) -> bool:
    """Whether any input was quarantined unread: what its key would have been may not be known."""
    unread = (LedgerRow.state == QUARANTINED, LedgerRow.attempts == 0, LedgerRow.reason_code != DUPLICATE_KEY)
    return session.scalar(select(LedgerRow.id).where(LedgerRow.job_id == job_id, *unread).limit(1)) is not None


def drop_carried(session: Session, job_id: int) -> None:
    """The scan is complete: suspects that it did not meet are gone."""
    session.execute(
        delete_rows(LedgerRow)
        .where(LedgerRow.job_id == job_id, LedgerRow.state == CARRIED)
        .execution_options(synchronize_session=False)
    )


def _holders(session: Session, job_id: int, keys: Sequence[str]) -> dict[str, str]:
    """key -> uri of the input that has it."""
    query = select(LedgerRow.key, LedgerRow.uri).where(
        LedgerRow.job_id == job_id, LedgerRow.key.in_(keys), LedgerRow.state != CARRIED
    )
    return {row.key: row.uri for row in session.execute(query)}


def _row(job_id: int, new: NewInput, taken: dict[str, str]) -> dict[str, object]:
    """The new row's values; `taken` learns its key."""
    reason, code = new.reason, new.reason_code
    if reason is None and taken.setdefault(new.key, new.uri) != new.uri:
        reason = f"{new.uri} has the key {new.key!r}, which {taken[new.key]} has already; give each its own key"
        code = DUPLICATE_KEY
    state = PENDING if reason is None else QUARANTINED
    return {"job_id": job_id, "uri": new.uri, "key": new.key, "state": state, "reason": reason, "reason_code": code}


def _revive(session: Session, job_id: int, uris: Sequence[str]) -> None:
    """A suspect stays a suspect; one that killed too many workers stays quarantined."""
    of_uris = (LedgerRow.job_id == job_id, LedgerRow.uri.in_(uris))
    worn = LedgerRow.attempts >= MOST_ATTEMPTS
    for where, values in (
        (worn, {"state": QUARANTINED, "reason": DEADLY_REASON, "reason_code": DEADLY}),
        (~worn, {"state": PENDING}),
    ):
        statement = update(LedgerRow).where(*of_uris, where).values(**values)
        session.execute(statement.execution_options(synchronize_session=False))
