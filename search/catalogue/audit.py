"""The audit log: who changed what, and when. Each row is written in the transaction that makes the change.

So every change has its row and every row its change. A row records a request: an index job has one row, not one for
each item that it writes.
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

MAX_ADDRESS_LENGTH = 100
# Rows removed in one transaction, while other writers wait.
_PRUNE_BATCH = 5_000


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
    """A filter of entries; None admits all. `action` may be only the part before the dot, such as `item`."""

    who: str | None = None
    action: str | None = None
    collection: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def record(session: Session, action: str, collection: str | None = None, target: object = None) -> None:
    """Record a change made in this transaction by the current actor (`anyseek.search.actor`)."""
    actor = current_actor()
    values = {
        "at": now(),
        "who": actor.who,
        "address": actor.address and actor.address[:MAX_ADDRESS_LENGTH],
        "request_id": actor.request_id,
        "action": action,
        "collection": collection,
        "target": None if target is None else str(target),
    }
    session.execute(insert(AuditRow).values(**values))


def list_page(session: Session, entry_filter: EntryFilter, before_id: int | None, limit: int) -> list[Entry]:
    """The `limit` newest entries, newest first; `before_id` is the last id of the page before."""
    before = () if before_id is None else (AuditRow.id < before_id,)
    query = select(AuditRow).where(*before, *_conditions(entry_filter)).order_by(AuditRow.id.desc()).limit(limit)
    return [
        Entry(row.id, utc(row.at), row.who, row.address, row.request_id, row.action, row.collection, row.target)
        for row in session.scalars(query)
    ]


def prune(database: Database, days: int, rows: int) -> int:
    """Remove entries older than `days` (0: no age limit) and all but the newest `rows`; return how many."""
    with database.read() as session:
        first, last = session.execute(select(func.min(AuditRow.id), func.max(AuditRow.id))).one()
        old = session.scalar(select(func.max(AuditRow.id)).where(AuditRow.at < now() - timedelta(days=days)))
    if last is None:
        return 0
    up_to = max(last - rows, (old or 0) if days else 0)
    removed = 0
    for start in range(first, up_to + 1, _PRUNE_BATCH):
        statement = delete(AuditRow).where(AuditRow.id.between(start, min(start + _PRUNE_BATCH - 1, up_to)))
        with database.write() as session:
            removed += count_changed(session, statement)
    return removed


def _conditions(entry_filter: EntryFilter) -> Sequence[ColumnElement[bool]]:
    conditions = []
    if entry_filter.who is not None:
        conditions.append(AuditRow.who == entry_filter.who)
    if entry_filter.action is not None:
        has_prefix = AuditRow.action.startswith(f"{entry_filter.action}.", autoescape=True)
        conditions.append((AuditRow.action == entry_filter.action) | has_prefix)
    if entry_filter.collection is not None:
        conditions.append(AuditRow.collection == entry_filter.collection)
    if entry_filter.since is not None:
        conditions.append(AuditRow.at >= entry_filter.since.astimezone(UTC))
    if entry_filter.until is not None:
        conditions.append(AuditRow.at < entry_filter.until.astimezone(UTC))
    return conditions
