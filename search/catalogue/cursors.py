"""Cursors of external indexes: how far each has followed a space's log, and which process applies the log to it.

One applier at a time has the lease, with a fence that grows with each lease. An applier that slept past its lease may
have written old values: it then finds that its fence has changed, and sets the cursor back to before what it wrote, so
that the next applier overwrites them with the newest values.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue.collections import centre_of
from anyseek.search.catalogue.owners import clock
from anyseek.search.catalogue.tables import CursorRow
from anyseek.search.catalogue.values import from_bytes, to_bytes
from anyseek.search.errors import LeaseLost

LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class Cursor:
    """The cursor of a space on one version of its centre (d,): entries up to `seq` are applied.

    `ready` becomes true once the index has held all entries.
    """

    centre_version: int
    centre: FloatArray
    seq: int
    ready: bool


@dataclass(frozen=True)
class CursorLease:
    """The right to apply a log, held until it is released or its holder is silent for longer than `LEASE`."""

    space_id: int
    centre_version: int
    fence: int


def all_of(session: Session, space_id: int) -> list[Cursor]:
    """The cursors of a space; the one of the newest centre is last."""
    query = select(CursorRow).where(CursorRow.space_id == space_id).order_by(CursorRow.centre_version)
    rows = session.scalars(query.execution_options(populate_existing=True))
    return [Cursor(row.centre_version, from_bytes(row.centre), row.seq, row.ready) for row in rows]


def begin(session: Session, space_id: int, centre_version: int) -> None:
    """Create a cursor for the space's current centre and its version, with nothing applied yet."""
    if all(held.centre_version != centre_version for held in all_of(session, space_id)):
        row = {"space_id": space_id, "centre_version": centre_version, "seq": 0, "ready": False, "fence": 0}
        session.execute(insert(CursorRow).values(**row, centre=to_bytes(centre_of(session, space_id))))


def take(session: Session, space_id: int, centre_version: int) -> CursorLease | None:
    """Lease the right to apply the log to an index that was begun; None while another process has it."""
    where = (CursorRow.space_id == space_id, CursorRow.centre_version == centre_version)
    now = clock(session)
    free = or_(CursorRow.expires_at.is_(None), CursorRow.expires_at < now)
    values = {"fence": CursorRow.fence + 1, "expires_at": now + LEASE}
    taken = session.execute(update(CursorRow).where(*where, free).values(values).execution_options(**_PLAIN))
    if not taken.rowcount:  # type: ignore[attr-defined]
        return None
    fence = session.scalars(select(CursorRow.fence).where(*where)).one()
    return CursorLease(space_id, centre_version, fence)


def advance(session: Session, lease: CursorLease, before: int, seq: int, ready: bool) -> None:
    """Advance the cursor from `before` and renew the lease; the cursor stays if it was set back in the meantime.

    Raises `LeaseLost`.
    """
    renewal = update(CursorRow).where(*_held(lease)).values(expires_at=clock(session) + LEASE)
    renewed = session.execute(renewal.execution_options(**_PLAIN))
    if not renewed.rowcount:  # type: ignore[attr-defined]
        raise LeaseLost("another process drives the index now")
    values: dict[str, int | bool] = {"seq": seq} | ({"ready": True} if ready else {})
    where = (*_held(lease), CursorRow.seq == before)
    session.execute(update(CursorRow).where(*where).values(values).execution_options(**_PLAIN))


def set_back(session: Session, lease: CursorLease, seq: int) -> None:
    """Set the cursor back, so that the current lease holder applies everything after `seq` again."""
    where = (CursorRow.space_id == lease.space_id, CursorRow.centre_version == lease.centre_version)
    session.execute(update(CursorRow).where(*where, CursorRow.seq > seq).values(seq=seq).execution_options(**_PLAIN))


def release(session: Session, lease: CursorLease) -> None:
    """Release the lease, so that another process can take it at once."""
    statement = update(CursorRow).where(*_held(lease)).values(expires_at=None)
    session.execute(statement.execution_options(**_PLAIN))


def delete(session: Session, space_id: int, centre_version: int) -> None:
    """Delete a cursor."""
    where = (CursorRow.space_id == space_id, CursorRow.centre_version == centre_version)
    session.execute(delete_rows(CursorRow).where(*where).execution_options(**_PLAIN))


_PLAIN = {"synchronize_session": False}


def _held(lease: CursorLease) -> tuple[ColumnElement[bool], ...]:
    return (
        CursorRow.space_id == lease.space_id,
        CursorRow.centre_version == lease.centre_version,
        CursorRow.fence == lease.fence,
    )
