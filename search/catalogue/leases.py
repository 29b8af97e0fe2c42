"""Leases of processes: owners of jobs, which report that they are alive, and cursors of external indexes.

On one machine a lock shows at once that a process has ended (`anyseek.indexer.runs`). Between machines, and for a hung
process, only an expired lease does. A **place** is where processes see each other's locks.

A cursor is the position of an external index in a space's log. One applier at a time has its lease, with a fence
that grows with each lease. An applier that outlived its lease may have written old values: it detects the
changed fence and rewinds the cursor, so that the next applier overwrites them.
"""

import hashlib
import os
import platform
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue.collections import centre_of
from anyseek.search.catalogue.session import count_changed
from anyseek.search.catalogue.tables import CursorRow, OwnerRow
from anyseek.search.catalogue.values import from_bytes, now, to_bytes, utc
from anyseek.search.errors import LeaseLost

REMOVE_AFTER = timedelta(days=1)

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def clock(session: Session) -> datetime:
    """The time by the database's clock, which all machines share; for SQLite, this machine's."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def renew(session: Session, name: str, valid_for: timedelta) -> None:
    """Register the owner `name`, or renew its registration, for `valid_for` from now."""
    expires = clock(session) + valid_for
    if not count_changed(session, update(OwnerRow).where(OwnerRow.name == name).values(expires_at=expires)):
        session.execute(insert(OwnerRow).values(name=name, expires_at=expires))


def is_registered(session: Session, name: str) -> bool:
    """True if the owner `name` has renewed its registration in time."""
    expires = session.scalar(select(OwnerRow.expires_at).where(OwnerRow.name == name))
    return expires is not None and utc(expires) > clock(session)


def unregister(session: Session, name: str) -> None:
    """Remove the owner `name`, and owners that expired more than `REMOVE_AFTER` ago."""
    silent = OwnerRow.expires_at < clock(session) - REMOVE_AFTER
    session.execute(delete_rows(OwnerRow).where((OwnerRow.name == name) | silent))


def place(locks: Path) -> str:
    """The place of processes that see each other's locks in the folder `locks`: they share the folder and the kernel.

    Containers of one machine may share a kernel and not the folder, machines the folder (over NFS) and not a kernel.
    """
    kernel = _BOOT.read_text() if _BOOT.exists() else platform.node()
    return hashlib.sha256(f"{kernel} {_identity(locks)}".encode()).hexdigest()[:16]


def _identity(folder: Path) -> str:
    """A random text stored in the folder by the first process that asks for it."""
    path = folder / "identity"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f"identity-{uuid.uuid4().hex}"
        mine.write_text(uuid.uuid4().hex)
        try:
            os.link(mine, path)
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    return path.read_text()


LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class Cursor:
    """The cursor of a space on one version of its centre (d,): entries up to `seq` are applied.

    `ready` becomes true once the index has had all entries.
    """

    centre_version: int
    centre: FloatArray
    seq: int
    ready: bool


@dataclass(frozen=True)
class CursorLease:
    """The right to apply a log, valid until released or not renewed for `LEASE`."""

    space_id: int
    centre_version: int
    fence: int


def cursors_of(session: Session, space_id: int) -> list[Cursor]:
    """The cursors of a space; the one of the newest centre is last."""
    query = select(CursorRow).where(CursorRow.space_id == space_id).order_by(CursorRow.centre_version)
    rows = session.scalars(query.execution_options(populate_existing=True))
    return [Cursor(row.centre_version, from_bytes(row.centre), row.seq, row.ready) for row in rows]


def create_cursor(session: Session, space_id: int, centre_version: int) -> None:
    """Create a cursor for the space's current centre and its version, with nothing applied yet."""
    if all(cursor.centre_version != centre_version for cursor in cursors_of(session, space_id)):
        row = {"space_id": space_id, "centre_version": centre_version, "seq": 0, "ready": False, "fence": 0}
        session.execute(insert(CursorRow).values(**row, centre=to_bytes(centre_of(session, space_id))))


def lease_cursor(session: Session, space_id: int, centre_version: int) -> CursorLease | None:
    """Lease the right to apply the log to an index with a cursor; None if another process holds it."""
    where = (CursorRow.space_id == space_id, CursorRow.centre_version == centre_version)
    now = clock(session)
    free = or_(CursorRow.expires_at.is_(None), CursorRow.expires_at < now)
    values = {"fence": CursorRow.fence + 1, "expires_at": now + LEASE}
    if not count_changed(session, update(CursorRow).where(*where, free).values(values)):
        return None
    fence = session.scalars(select(CursorRow.fence).where(*where)).one()
    return CursorLease(space_id, centre_version, fence)


def advance_cursor(session: Session, lease: CursorLease, before: int, seq: int, ready: bool) -> None:
    """Advance the cursor from `before` and renew the lease; the cursor stays if it was rewound. Raises `LeaseLost`."""
    renewal = update(CursorRow).where(*_is_current(lease)).values(expires_at=clock(session) + LEASE)
    if not count_changed(session, renewal):
        raise LeaseLost("another process has taken over the index")
    values: dict[str, int | bool] = {"seq": seq} | ({"ready": True} if ready else {})
    where = (*_is_current(lease), CursorRow.seq == before)
    session.execute(update(CursorRow).where(*where).values(values))


def rewind_cursor(session: Session, lease: CursorLease, seq: int) -> None:
    """Set the cursor back, so that the current lease holder applies everything after `seq` again."""
    where = (CursorRow.space_id == lease.space_id, CursorRow.centre_version == lease.centre_version)
    session.execute(update(CursorRow).where(*where, CursorRow.seq > seq).values(seq=seq))


def release_cursor(session: Session, lease: CursorLease) -> None:
    """Release the lease, so that another process can get it at once."""
    session.execute(update(CursorRow).where(*_is_current(lease)).values(expires_at=None))


def delete_cursor(session: Session, space_id: int, centre_version: int) -> None:
    """Delete a cursor."""
    where = (CursorRow.space_id == space_id, CursorRow.centre_version == centre_version)
    session.execute(delete_rows(CursorRow).where(*where))


def _is_current(lease: CursorLease) -> tuple[ColumnElement[bool], ...]:
    return (
        CursorRow.space_id == lease.space_id,
        CursorRow.centre_version == lease.centre_version,
        CursorRow.fence == lease.fence,
    )
