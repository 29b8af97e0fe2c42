"""Jobs that move a collection to another model, or back: their ledger has a row for each item that lacks vectors.

Items may be put, changed and deleted in the meantime. Before the switch the job lists the items that lack vectors at
that time, and it switches in a transaction in which no item lacks them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete as delete_rows
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.catalogue import audit, collections, item_rows, jobs, ledger, log, space_switch
from anyseek.search.catalogue.jobs import ACTIVE, REEMBED, REEMBEDDING, ROLLBACK, IsAlive, Job, JobState
from anyseek.search.catalogue.ledger import InputResult, Lease
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.space_switch import IncompleteItem, NothingBuilt, Target
from anyseek.search.catalogue.tables import ItemRow, JobRow, LedgerRow
from anyseek.search.catalogue.values import chunks, rows_in
from anyseek.search.errors import Conflict
from anyseek.search.types import Collection

PAGE = 500
MAX_REMAINING = 32  # the most items embedded while writers wait


class AlreadyEmbedded(Conflict):
    code = "already-embedded"


class ReembedUnderWay(Conflict):
    code = "reembed-under-way"


@dataclass(frozen=True)
class NewVectors:
    """An item's vectors in the target's spaces, made from its `revision`."""

    item_id: int
    revision: int
    vectors: Mapping[str, FloatArray]


# Embeds a few items; items that cannot be embedded are left out.
EmbedRemaining = Callable[[Session, Sequence[IncompleteItem]], Sequence[NewVectors]]


def open_job(
    session: Session,
    collection: Collection,
    model: str,
    spaces: Iterable[EmbeddingSpace],
    owner: str | None,
    is_alive: IsAlive,
) -> Job:
    """The job that gives the collection vectors of a model: a new one, or an interrupted one that `owner` adopts.

    Raises `AlreadyEmbedded`, `ReembedUnderWay` for a job of another model, `OldVectorsKept`.
    """
    collections.lock(session, collection)
    new_spaces = list(spaces)
    if job := _active(session, collection, REEMBED, model, owner, is_alive):
        return job
    serving = {space.name: space.fingerprint for space in collection.spaces.values()}
    if serving == {space.name: space.fingerprint for space in new_spaces}:
        raise AlreadyEmbedded(f"the collection {collection.name!r} already has the vectors of {model}")
    space_switch.build(session, collection, model, new_spaces)
    audit.record(session, "collection.reembed", collection.name, model)
    return _new_job(session, collection, REEMBED, owner)


def open_rollback(session: Session, collection: Collection, owner: str | None, is_alive: IsAlive) -> Job:
    """The job that lets the collection's kept vectors serve again, once newer items have such vectors too.

    Raises `NothingKept`, `ReembedUnderWay`.
    """
    collections.lock(session, collection)
    if job := _active(session, collection, ROLLBACK, None, owner, is_alive):
        return job
    space_switch.start_return(session, collection)
    audit.record(session, "collection.rollback", collection.name)
    return _new_job(session, collection, ROLLBACK, owner)


def list_page(session: Session, job_id: int, target: Target, after_id: int, since: int = 0) -> list[IncompleteItem]:
    """List the next items that lack vectors in the job's ledger; empty at the end. `since` as for `untried_items`."""
    page = space_switch.incomplete_items(session, target, after_id, PAGE, since)
    inputs = [ledger.NewInput(_uri(item), item.key) for item in page]
    for batch in chunks(inputs):  # rows of earlier revisions of these items
        stale = (LedgerRow.key.in_([new.key for new in batch]), LedgerRow.uri.not_in([new.uri for new in batch]))
        session.execute(delete_rows(LedgerRow).where(LedgerRow.job_id == job_id, *stale))
    ledger.add(session, job_id, inputs)
    return page


def write(
    session: Session, target: Target, made: Sequence[tuple[Lease, NewVectors]], settled: Sequence[InputResult]
) -> int:
    """Log new vectors and settle their inputs; return how many items have changed since they were read.

    The inputs of changed items are returned, to be embedded again; deleted items are skipped. Writes nothing if it
    raises `LeaseLost`, or `FingerprintMismatch` because the target was given up.
    """
    ledger.check(session, [lease for lease, _ in made])
    space_switch.check_target(session, target)
    rows = rows_in(session, select(ItemRow.id, ItemRow.revision), ItemRow.id, [new.item_id for _, new in made])
    revisions = {row.id: row.revision for row in rows}
    fresh = [(lease, new) for lease, new in made if revisions.get(new.item_id) == new.revision]
    changed = [lease for lease, new in made if revisions.get(new.item_id, new.revision) != new.revision]
    deleted = [InputResult(lease, ledger.UNCHANGED) for lease, new in made if new.item_id not in revisions]
    _log(session, target, [new for _, new in fresh])
    ledger.settle(session, [*settled, *deleted, *(InputResult(lease, ledger.INDEXED) for lease, _ in fresh)])
    ledger.return_leases(session, changed)
    return len(changed)


def untried_items(session: Session, job_id: int, target: Target, since: int = 0) -> list[IncompleteItem]:
    """A page of items that lack vectors and that the job has not tried; empty if none are left.

    With `since` only items with log entries above it.
    """
    after = 0
    while page := space_switch.incomplete_items(session, target, after, PAGE, since):
        refused = ledger.quarantined_uris(session, job_id, [_uri(item) for item in page])
        if untried := [item for item in page if _uri(item) not in refused]:
            return untried
        after = page[-1].item_id
    return []


def finish(session: Session, job_id: int, target: Target, listed_seq: int, make: EmbedRemaining) -> bool:
    """End a job whose inputs are settled: switch, or fail the job if some inputs are quarantined.

    Return False, and do nothing, if inputs are open or too many untried items lack vectors. The last few items are
    embedded here, while writers wait, since continuous writes could otherwise delay the switch forever. Items without
    vectors at `listed_seq` of the log have been tried.
    """
    job = jobs.get_locked(session, job_id)
    space_switch.check_target(session, target)
    if job.state != JobState.RUNNING or ledger.has_open(session, job_id):
        return False
    untried = untried_items(session, job_id, target, listed_seq)
    if len(untried) > MAX_REMAINING:
        return False
    if untried:
        _log(session, target, made := make(session, untried))
        if len(made) < len(untried) or untried_items(session, job_id, target, listed_seq):
            return False
    failed = ledger.counts(session, job_id).quarantined
    if not failed:
        space_switch.switch(session, target)
        return jobs.complete(session, job_id)
    return jobs.end_unfinished(
        session,
        job_id,
        JobState.FAILED,
        f"{failed} items could not be embedded (anyseek jobs failures {job_id}), so {job.collection} was not switched "
        f"to {target.model}; repair or delete them and start again, or leave them out: "
        f"anyseek collections switch {job.collection}",
    )


def switch_without_failed(session: Session, collection: Collection) -> int:
    """Switch to the built spaces although some items, all tried by the last job, lack vectors; return how many.

    These items stay in the catalogue, but queries do not find them until their source is indexed again. Raises
    `NothingBuilt`.
    """
    job_id, target = _last_job(session, collection.id), space_switch.target(session, collection.id)
    if job_id is None or target is None:
        raise NothingBuilt(
            f"no new vectors have been made for the collection {collection.name!r}; run anyseek collections "
            "reembed first"
        )
    job = jobs.get_locked(session, job_id)
    space_switch.check_target(session, target)
    if job.active or untried_items(session, job_id, target):
        raise NothingBuilt(
            f"not every item of the collection {collection.name!r} has been tried with {target.model}; wait for job "
            f"{job_id}, or run the same anyseek collections reembed again"
        )
    omitted_keys: list[str] = []
    after = 0
    while page := space_switch.incomplete_items(session, target, after, PAGE):
        omitted_keys += [item.key for item in page]
        after = page[-1].item_id
    space_switch.switch(session, target)
    item_rows.clear_content_hash(session, collection.id, omitted_keys)
    session.execute(update(JobRow).where(JobRow.id == job_id).values(state=JobState.DONE, error=None))
    audit.record(session, "collection.switch", collection.name, target.model)
    return len(omitted_keys)


def left_out(session: Session, collection_id: int) -> dict[str, str]:
    """Items, by key, that the last switch left out because they could not be embedded, and why."""
    done = select(JobRow.id).where(
        JobRow.collection_id == collection_id, JobRow.kind.in_(REEMBEDDING), JobRow.state == JobState.DONE
    )
    job_id = session.scalar(done.order_by(JobRow.id.desc()).limit(1))
    if job_id is None:
        return {}
    refused = (LedgerRow.job_id == job_id, LedgerRow.state == ledger.QUARANTINED)
    rows = session.execute(select(LedgerRow.key, LedgerRow.reason).where(*refused))
    return {row.key: row.reason or "" for row in rows}


def check_idle(session: Session, collection: Collection) -> None:
    """Raises `ReembedUnderWay` if a job of this kind is active, running or interrupted."""
    job_id = _last_job(session, collection.id)
    if job_id is not None and jobs.get(session, job_id).active:
        raise _under_way_error(session, collection, job_id)


def _active(
    session: Session, collection: Collection, kind: str, model: str | None, owner: str | None, is_alive: IsAlive
) -> Job | None:
    """The active job of this kind and model, adopted by `owner`. Raises `ReembedUnderWay` if another one is active."""
    job_id = _last_job(session, collection.id)
    if job_id is None or (job := jobs.get(session, job_id)).state not in ACTIVE:
        return None
    target = space_switch.target(session, collection.id)
    if job.kind != kind or target is None or model not in (None, target.model):
        raise _under_way_error(session, collection, job_id)
    if owner:
        jobs.adopt(session, job_id, owner, is_alive)
    return jobs.get(session, job_id)


def _under_way_error(session: Session, collection: Collection, job_id: int) -> ReembedUnderWay:
    target = space_switch.target(session, collection.id)
    what = "" if target is None else f" to {target.model}"
    return ReembedUnderWay(
        f"job {job_id} moves the collection {collection.name!r}{what}; wait for it, or anyseek jobs cancel {job_id}"
    )


def _last_job(session: Session, collection_id: int) -> int | None:
    where = (JobRow.collection_id == collection_id, JobRow.kind.in_(REEMBEDDING))
    return session.scalar(select(JobRow.id).where(*where).order_by(JobRow.id.desc()).limit(1))


def _new_job(session: Session, collection: Collection, kind: str, owner: str | None) -> Job:
    """Create a job; of earlier re-embedding jobs, only the failures stay in the ledger."""
    earlier = select(JobRow.id).where(JobRow.collection_id == collection.id, JobRow.kind.in_(REEMBEDDING))
    finished = (LedgerRow.job_id.in_(earlier), LedgerRow.state != ledger.QUARANTINED)
    session.execute(delete_rows(LedgerRow).where(*finished))
    row = JobRow(kind=kind, collection_id=collection.id, owner=owner, state=JobState.SCANNING)
    session.add(row)
    session.flush()
    return jobs.get(session, row.id)


def _log(session: Session, target: Target, made: Sequence[NewVectors]) -> None:
    """Append to the log; the caller holds the collection's lock."""
    entries = [
        NewEntry(log.UPSERT, new.item_id, new.revision, space.id, space.fingerprint, new.vectors[name])
        for new in made
        for name, space in target.spaces.items()
    ]
    log.append(session, target.collection_id, collections.head_by_id(session, target.collection_id).last_seq, entries)


def _uri(item: IncompleteItem) -> str:
    """A uri for each revision of an item, so that a changed item is tried again."""
    return f"item {item.item_id}, revision {item.revision}"
