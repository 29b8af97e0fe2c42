"""The audit log: who changed what, and when. Each row is written in the transaction that makes the change.

So there is no change without its row and no row without its change. A row names what was asked for: an index job has
one, not one for each item that it writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from anyseek.search.actor import current_actor
from anyseek.search.catalogue.session import Database, count_changed
from anyseek.search.catalogue.tables import AuditRow
from anyseek.search.catalogue.values import now, utc

LONGEST_ADDRESS = 100
# Rows removed in one transaction, while others wait to write.
_REMOVED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Entry:
    """`who` and `address` as in `anyseek.search.actor`; `target`: a key, a job, a source or the name of an API key."""

    id: int
    at: datetime
    who: str
    address: str | None
    request_id: str | None
    action: str
    collection: str | None
    target: str | None


@dataclass(frozen=True)
class EntryFilter:
    """A filter of entries; None admits all. `action` may be the part before the dot, such as `item`."""

    who: str | None = None
    action: str | None = None
    collection: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def record(session: Session, action: str, collection: str | None = None, target: object = None) -> None:
    """Note a change that is made in this transaction for `anyseek.search.actor.caller`."""
    by = current_actor()
    values = {
        "at": now(),
        "who": by.who,
        "address": by.address and by.address[:LONGEST_ADDRESS],
        "request_id": by.request_id,
        "action": action,
        "collection": collection,
        "target": None if target is None else str(target),
    }
    session.execute(insert(AuditRow).values(**values))


def list_page(session: Session, wanted: EntryFilter, before_id: int | None, limit: int) -> list[Entry]:
    """The `limit` newest entries, newest first; `before_id` is the last id of the page before."""
    before = () if before_id is None else (AuditRow.id < before_id,)
    query = select(AuditRow).where(*before, *_conditions(wanted)).order_by(AuditRow.id.desc()).limit(limit)
    return [
        Entry(row.id, utc(row.at), row.who, row.address, row.request_id, row.action, row.collection, row.target)
        for row in session.scalars(query)
    ]


def prune(database: Database, days: int, rows: int) -> int:
    """Remove entries older than `days` (0: none) and all but the newest `rows`; return how many."""
    with database.read() as session:
        first, last = session.execute(select(func.min(AuditRow.id), func.max(AuditRow.id))).one()
        old = session.scalar(select(func.max(AuditRow.id)).where(AuditRow.at < now() - timedelta(days=days)))
    if last is None:
        return 0
    up_to = max(last - rows, (old or 0) if days else 0)
    removed = 0
    for start in range(first, up_to + 1, _REMOVED_AT_ONCE):
        some = delete(AuditRow).where(AuditRow.id.between(start, min(start + _REMOVED_AT_ONCE - 1, up_to)))
        with database.write() as session:
            removed += count_changed(session, some)
    return removed


def _conditions(wanted: EntryFilter) -> Sequence[ColumnElement[bool]]:
    found = []
    if wanted.who is not None:
        found.append(AuditRow.who == wanted.who)
    if wanted.action is not None:
        of_kind = AuditRow.action.startswith(f"{wanted.action}.", autoescape=True)
        found.append((AuditRow.action == wanted.action) | of_kind)
    if wanted.collection is not None:
        found.append(AuditRow.collection == wanted.collection)
    if wanted.since is not None:
        found.append(AuditRow.at >= wanted.since.astimezone(UTC))
    if wanted.until is not None:
        found.append(AuditRow.at < wanted.until.astimezone(UTC))
    return found
