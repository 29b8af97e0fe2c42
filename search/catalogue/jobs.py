"""Jobs in the catalogue: who runs them, their progress, and how they ended.

scanning ──> running ──> done
    │           │ ^       │
    │           │ └───────┘  reopened: its quarantined inputs will be tried again
    └───────────┴──────> failed | cancelled

A job whose owner died while it was scanning or running is *interrupted*; the next process that indexes the same
source of the same collection adopts it. Workers own a job only while they scan it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.search.actor import current_actor
from anyseek.search.catalogue import audit, collections, ledger, space_switch
from anyseek.search.catalogue.leases import clock
from anyseek.search.catalogue.ledger import Counts
from anyseek.search.catalogue.session import count_changed
from anyseek.search.catalogue.tables import CollectionRow, JobRow, LedgerRow, SourceRow, SubmissionRow
from anyseek.search.catalogue.values import now, utc
from anyseek.search.errors import JobDeleted, JobNotFound, JobNotRetriable
from anyseek.search.types import Collection, OnDuplicate

INDEX = "index"
REEMBED, ROLLBACK = "reembed", "rollback"  # see `anyseek.search.catalogue.reembedding`
REEMBEDDING = (REEMBED, ROLLBACK)

# Returns whether the process with this name is alive.
IsAlive = Callable[[str], bool]


class JobState(StrEnum):
    SCANNING = "scanning"  # its owner lists the folder's inputs in the ledger
    RUNNING = "running"  # any process may lease inputs
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (JobState.SCANNING, JobState.RUNNING)


@dataclass(frozen=True)
class Job:
    """A bulk operation. `counts` are filled in at the end; `ignored` and `pruned` count files and items."""

    id: int
    kind: str
    collection: str
    root: str | None
    source_id: int | None
    state: JobState
    owner: str | None
    error: str | None
    prune: bool
    counts: Counts
    ignored: int
    pruned: int
    created_at: datetime
    ended_at: datetime | None
    on_duplicate: OnDuplicate = OnDuplicate.LINK
    key_prefix: str = ""  # of its source
    predicts: bool = False  # whether items of its source get predicted attributes
    charged_to: str | None = None  # the API key that started it

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


def open_index_job(
    session: Session,
    collection: Collection,
    source_id: int,
    owner: str | None,
    prune: bool,
    is_alive: IsAlive,
    on_duplicate: OnDuplicate = OnDuplicate.LINK,
) -> Job:
    """The job that indexes a source now: the active one, an interrupted one that `owner` adopts, or a new one.

    Without an `owner`, a new job waits for one, and an interrupted job stays interrupted.
    At most one job of a source is active, even with concurrent callers. A new job drops the finished inputs of
    the source's earlier ledgers (their counts stay).
    """
    collections.lock(session, collection)
    active = session.scalar(select(JobRow).where(JobRow.source_id == source_id, JobRow.state.in_(ACTIVE)))
    if active is None:
        earlier = select(JobRow.id).where(JobRow.source_id == source_id)
        finished = (LedgerRow.job_id.in_(earlier), LedgerRow.state != ledger.QUARANTINED)
        session.execute(delete_rows(LedgerRow).where(*finished))
        active = JobRow(kind=INDEX, collection_id=collection.id, source_id=source_id, owner=owner, prune=prune)
        active.state, active.on_duplicate = JobState.SCANNING, on_duplicate
        active.charged_to = current_actor().key
        session.add(active)
    elif owner is not None and adopt(session, active.id, owner, is_alive):
        active.prune, active.on_duplicate = prune, on_duplicate
    else:
        active.prune = active.prune or prune
    session.flush()
    job = get(session, active.id)
    audit.record(session, "job.start", collection.name, f"{job.id} {job.root}")
    return job


def adopt(session: Session, job_id: int, owner: str, is_alive: IsAlive) -> bool:
    """Let `owner` adopt an interrupted job, which is then scanned again; false if its owner lives or it has ended."""
    row = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if row is None or row.state not in ACTIVE or (row.owner is not None and is_alive(row.owner)):
        return False
    row.owner, row.state = owner, JobState.SCANNING
    session.flush()
    ledger.carry_over(session, job_id)
    return True


def start(session: Session, job_id: int, owner: str, ignored: int) -> bool:
    """End the scan, after which inputs may be leased. False if `owner` no longer owns the job."""
    owned = (JobRow.id == job_id, JobRow.owner == owner, JobRow.state == JobState.SCANNING)
    running = {"state": JobState.RUNNING, "ignored": ignored}
    is_owned = count_changed(session, update(JobRow).where(*owned).values(running)) > 0
    ledger.drop_carried(session, job_id)
    return is_owned


def release(session: Session, job_id: int, owner: str) -> None:
    """Give up ownership of a job that `owner` has scanned, so that any process can work on it."""
    session.execute(update(JobRow).where(JobRow.id == job_id, JobRow.owner == owner).values(owner=None))


def set_note(session: Session, job_id: int, note: str) -> None:
    """Record what delays an active job; the note is cleared when the job succeeds."""
    session.execute(update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(ACTIVE)).values(error=note))


def claim_submission(session: Session, job_id: int, not_since: timedelta) -> bool:
    """Record that this process submits a job's tasks now; false if another one did within `not_since`.

    So only one process at a time submits them. Raises `JobNotFound`.
    """
    if session.scalar(select(JobRow.id).where(JobRow.id == job_id).with_for_update()) is None:
        raise _not_found(job_id)
    moment, row = clock(session), session.get(SubmissionRow, job_id, populate_existing=True)
    if row is not None and utc(row.submitted_at) > moment - not_since:
        return False
    session.merge(SubmissionRow(job_id=job_id, submitted_at=moment))
    session.flush()
    return True


def reopen(session: Session, job_id: int) -> int:
    """Make the quarantined inputs of a job pending again, and return how many; a finished job with any runs again.

    Inputs refused by the scan stay quarantined. Raises `JobNotFound`, `JobNotRetriable`.
    """
    row = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if row is None:
        raise _not_found(job_id)
    if row.kind != INDEX:
        raise JobNotRetriable(f"job {job_id} re-embeds a collection; run anyseek collections reembed again instead")
    if row.state not in (JobState.RUNNING, JobState.DONE):
        raise JobNotRetriable(f"job {job_id} is {row.state}; only a running or finished job can be retried")
    if row.source_id is None:
        raise JobNotRetriable(f"the source of job {job_id} has been forgotten; index it again instead")
    later = session.scalar(select(JobRow.id).where(JobRow.source_id == row.source_id, JobRow.id > job_id).limit(1))
    if later is not None:
        raise JobNotRetriable(f"job {later} has indexed the folder of job {job_id} since then; retry that job")
    reopened = ledger.reopen(session, job_id)
    audit.record(session, "job.retry", get(session, job_id).collection, job_id)
    if reopened and row.state == JobState.DONE:
        row.state, row.owner, row.ended_at = JobState.RUNNING, None, None
    session.flush()
    return reopened


def add_pruned(session: Session, job_id: int, count: int) -> None:
    session.execute(update(JobRow).where(JobRow.id == job_id).values(pruned=JobRow.pruned + count))


def complete(session: Session, job_id: int) -> bool:
    """Mark a running job as done; false while inputs are open or a new scan is under way."""
    row = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if row is None or row.state != JobState.RUNNING or ledger.has_open(session, job_id):
        return False
    _close(session, job_id, JobState.DONE, None)
    return True


def end_unfinished(session: Session, job_id: int, state: JobState, error: str | None) -> bool:
    """Mark an active job as failed or cancelled; false if it has already ended."""
    row = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if row is None or row.state not in ACTIVE:
        return False
    _close(session, job_id, state, error)
    if state == JobState.CANCELLED and row.kind in REEMBEDDING:
        space_switch.discard(session, row.collection_id)
    return True


def get(session: Session, job_id: int) -> Job:
    """The job with this id. Raises `JobNotFound`."""
    rows = _read(session, 1, JobRow.id == job_id)
    if not rows:
        raise _not_found(job_id)
    return rows[0]


def reload(session: Session, job: Job) -> Job:
    """The current state of the job. Raises `JobDeleted` if it is gone, even if another job has its id by now."""
    rows = _read(session, 1, JobRow.id == job.id)
    if not rows or rows[0].created_at != job.created_at:
        raise JobDeleted(f"the collection {job.collection!r} was deleted while job {job.id} worked on it")
    return rows[0]


def get_locked(session: Session, job_id: int) -> Job:
    """The job, locked until the transaction ends; raises as `get` does."""
    session.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update())
    return get(session, job_id)


def get_with_counts(session: Session, job_id: int) -> Job:
    """The job with the current counts of its ledger, whose rows are all read if the job is active."""
    job = get(session, job_id)
    return replace(job, counts=ledger.counts(session, job_id)) if job.active else job


def list_unowned(session: Session, is_alive: IsAlive) -> list[int]:
    """Active jobs without a living owner, oldest first."""
    rows = session.execute(select(JobRow.id, JobRow.owner).where(JobRow.state.in_(ACTIVE)).order_by(JobRow.id))
    return [row.id for row in rows if row.owner is None or not is_alive(row.owner)]


def list_active(session: Session) -> list[Job]:
    """Jobs that have not ended, oldest first."""
    ids = session.scalars(select(JobRow.id).where(JobRow.state.in_(ACTIVE)).order_by(JobRow.id)).all()
    return [get(session, job_id) for job_id in ids]


def list_page(session: Session, before_id: int | None, limit: int, collection: str | None = None) -> list[Job]:
    """The `limit` newest jobs, newest first; `before_id` is the last id of the page before."""
    before = () if before_id is None else (JobRow.id < before_id,)
    of_collection = () if collection is None else (CollectionRow.name == collection,)
    return _read(session, limit, *before, *of_collection)


def _not_found(job_id: int) -> JobNotFound:
    return JobNotFound(f"there is no job {job_id}; jobs are deleted with their collections")


def _close(session: Session, job_id: int, state: JobState, error: str | None) -> None:
    counts = ledger.counts(session, job_id)
    numbers = {name: getattr(counts, name) for name in ("indexed", "unchanged", "quarantined", "skipped")}
    session.execute(
        update(JobRow).where(JobRow.id == job_id).values(state=state, error=error, ended_at=now(), **numbers)
    )


def _read(session: Session, limit: int, *where: ColumnElement[bool]) -> list[Job]:
    rows = session.execute(
        select(JobRow, CollectionRow.name, SourceRow.root, SourceRow.key_prefix, SourceRow.predicts)
        .join(CollectionRow, CollectionRow.id == JobRow.collection_id)
        .outerjoin(SourceRow, SourceRow.id == JobRow.source_id)
        .where(*where)
        .order_by(JobRow.id.desc())
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    return [_job(*row) for row in rows]


def _job(row: JobRow, collection: str, root: str | None, key_prefix: str | None, predicts: bool | None) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        collection=collection,
        root=root,
        source_id=row.source_id,
        state=JobState(row.state),
        owner=row.owner,
        error=row.error,
        prune=row.prune,
        counts=Counts(row.indexed, row.unchanged, row.quarantined, skipped=row.skipped),
        ignored=row.ignored,
        pruned=row.pruned,
        created_at=utc(row.created_at),
        ended_at=utc(row.ended_at) if row.ended_at else None,
        on_duplicate=OnDuplicate(row.on_duplicate),
        key_prefix=key_prefix or "",
        predicts=bool(predicts),
        charged_to=row.charged_to,
    )
