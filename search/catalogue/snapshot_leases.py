"""Who may write a collection's snapshots and compact its log: one process at a time, whatever machine it is on.

A lease that is not renewed is free for others after its time. See `search.snapshot_lease` for who takes it.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from search.catalogue.owners import clock
from search.catalogue.rows import utc
from search.catalogue.tables import CollectionRow, SnapshotLeaseRow
from search.errors import CollectionNotFound, LeaseLost


def take(session: Session, collection_id: int, place: str, holder: str, valid_for: timedelta) -> bool:
    """Make the lease `holder`'s; false while somebody of another place has it, and is not silent for too long.

    Whoever else of `place` has it is dead: the caller has the lock that processes of a place see. Raises
    `CollectionNotFound`.
    """
    of_collection = CollectionRow.id == collection_id
    if session.scalar(select(CollectionRow.id).where(of_collection).with_for_update()) is None:
        raise CollectionNotFound("the collection was deleted meanwhile")
    moment, row = clock(session), session.get(SnapshotLeaseRow, collection_id, populate_existing=True)
    if row is not None and row.place != place and utc(row.expires_at) > moment:
        return False
    session.merge(
        SnapshotLeaseRow(collection_id=collection_id, place=place, holder=holder, expires_at=moment + valid_for)
    )
    session.flush()
    return True


def renew(session: Session, collection_id: int, holder: str, valid_for: timedelta) -> None:
    """Have the lease go on for so long from now on. Raises `LeaseLost`."""
    expires = clock(session) + valid_for
    statement = update(SnapshotLeaseRow).where(*_held(collection_id, holder)).values(expires_at=expires)
    if not session.execute(statement.execution_options(**_PLAIN)).rowcount:  # type: ignore[attr-defined]
        raise LeaseLost("another process has the right to write the collection's snapshots now")


def give_up(session: Session, collection_id: int, holder: str) -> None:
    """Let another process have it at once; harmless if one has."""
    session.execute(delete_rows(SnapshotLeaseRow).where(*_held(collection_id, holder)).execution_options(**_PLAIN))


_PLAIN = {"synchronize_session": False}


def _held(collection_id: int, holder: str) -> tuple[ColumnElement[bool], ...]:
    return SnapshotLeaseRow.collection_id == collection_id, SnapshotLeaseRow.holder == holder
