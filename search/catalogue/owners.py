"""Owners of leases: each process that works on a job says again and again that it lives.

On one machine a lock tells at once that a process is gone (`indexer.owner`). Between machines only silence tells, and
so it does of a process that hangs.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from search.catalogue.rows import utc
from search.catalogue.tables import OwnerRow, now

FORGOTTEN_AFTER = timedelta(days=1)


def clock(session: Session) -> datetime:
    """The time by the database's clock, which all machines share; SQLite has that of its only machine."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def renew(session: Session, name: str, valid_for: timedelta) -> None:
    """Have the owner called `name` be believed to live for so long from now on."""
    expires = clock(session) + valid_for
    renewed = session.execute(update(OwnerRow).where(OwnerRow.name == name).values(expires_at=expires))
    if not renewed.rowcount:  # type: ignore[attr-defined]
        session.execute(insert(OwnerRow).values(name=name, expires_at=expires))


def is_heard_of(session: Session, name: str) -> bool:
    """Whether the owner called `name` has renewed its life in time."""
    expires = session.scalar(select(OwnerRow.expires_at).where(OwnerRow.name == name))
    return expires is not None and utc(expires) > clock(session)


def leave(session: Session, name: str) -> None:
    """Forget an owner that ends, and those that were silent for long."""
    silent = OwnerRow.expires_at < clock(session) - FORGOTTEN_AFTER
    session.execute(
        delete_rows(OwnerRow).where((OwnerRow.name == name) | silent).execution_options(synchronize_session=False)
    )
