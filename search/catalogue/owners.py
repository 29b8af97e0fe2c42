"""Owners of leases, and their places: each process that works on a job regularly reports that it is alive.

On one machine a lock shows at once that a process is gone (`anyseek.indexer.runs`). Between machines, and for a process
that hangs, only its silence does. A **place** is where processes see each other's locks.
"""

import hashlib
import os
import platform
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from anyseek.search.catalogue.tables import OwnerRow
from anyseek.search.catalogue.values import now, utc

FORGOTTEN_AFTER = timedelta(days=1)

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def clock(session: Session) -> datetime:
    """The time by the database's clock, which all machines share; SQLite has that of its only machine."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def renew(session: Session, name: str, valid_for: timedelta) -> None:
    """Count the owner `name` as alive for this long from now on."""
    expires = clock(session) + valid_for
    renewed = session.execute(update(OwnerRow).where(OwnerRow.name == name).values(expires_at=expires))
    if not renewed.rowcount:  # type: ignore[attr-defined]
        session.execute(insert(OwnerRow).values(name=name, expires_at=expires))


def is_heard_of(session: Session, name: str) -> bool:
    """True if the owner `name` has renewed its registration in time."""
    expires = session.scalar(select(OwnerRow.expires_at).where(OwnerRow.name == name))
    return expires is not None and utc(expires) > clock(session)


def leave(session: Session, name: str) -> None:
    """Remove an owner that ends, and owners that have long been silent."""
    silent = OwnerRow.expires_at < clock(session) - FORGOTTEN_AFTER
    session.execute(
        delete_rows(OwnerRow).where((OwnerRow.name == name) | silent).execution_options(synchronize_session=False)
    )


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
