"""The bulk pipeline: leased inputs -> decoded ahead in threads -> embedded as a batch -> written in one transaction.

While the model works on one range the next is decoded, and never more than these two are in memory.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from sqlalchemy.orm import Session

from indexer.duplicates import settled_duplicates
from indexer.errors import JobCancelled
from indexer.owner import Owner
from indexer.prepare import Outcome, Prepared, Preparer, Refused
from model.embedder import Embedder, FloatArray
from search.catalogue import duplicates, items, jobs, ledger
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import INDEXED, UNCHANGED, Lease, Settled, Span
from search.catalogue.session import Database
from search.errors import KeyHeldElsewhere, LeaseLost
from search.settings import Work
from search.types import Collection, NewItem

logger = logging.getLogger(__name__)

MODEL_FAILED = "model-failed"


@dataclass(frozen=True)
class _Range:
    """Leased inputs on their way."""

    leases: Sequence[Lease]
    outcomes: Sequence["Future[Outcome]"]


class Pipeline:
    """Settles inputs of a job until none can be leased. One call of `work` at a time."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        work: Work,
        collection: Collection,
        preparer: Preparer,
        owner: Owner,
        on_settled: Callable[[int], None],
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._settings = work
        self._lease_time = timedelta(seconds=work.task_seconds)
        self._collection = collection
        self._preparer = preparer
        self._owner = owner
        self._on_settled = on_settled
        self._under_way: list[Lease] = []

    def work(self, job: Job, span: Span | None) -> None:
        """Lease and settle until nothing of the job, or of `span`, is pending, or the job is scanned anew.

        Raises `JobCancelled`, `JobStopped`, and `SourceGone` if the folder goes away; leases are given back then.
        """
        pool = ThreadPoolExecutor(self._preparer.threads, thread_name_prefix="prepare")
        try:
            following = self._begin(job, span, pool)
            while current := following or self._begin_suspect(job, span, pool):
                # Nothing else may be under way while a suspect is, so that a death is its doing alone.
                following = self._begin(job, span, pool) if following else None
                self._finish(job, current)
                following = following or self._begin(job, span, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            self._give_back()

    def _begin(self, job: Job, span: Span | None, pool: ThreadPoolExecutor) -> _Range | None:
        def lease(session: Session) -> list[Lease]:
            most, owner = self._settings.inputs_per_batch, self._owner.name
            return ledger.lease_range(session, job.id, owner, most, self._lease_time, span)

        return self._lease(job, lease, pool)

    def _begin_suspect(self, job: Job, span: Span | None, pool: ThreadPoolExecutor) -> _Range | None:
        def lease(session: Session) -> list[Lease]:
            suspect = ledger.lease_suspect(session, job.id, self._owner.name, self._lease_time, span)
            return [suspect] if suspect else []

        return self._lease(job, lease, pool)

    def _lease(self, job: Job, lease: Callable[[Session], list[Lease]], pool: ThreadPoolExecutor) -> _Range | None:
        self._owner.check()
        with self._database.write() as session:
            if not _may_lease(jobs.get(session, job.id)):
                return None
            ledger.void(session, job.id, self._owner.living(session))
            leases = lease(session)
            held = items.hashes(session, self._collection, [one.key for one in leases])
        return self._submit(pool, leases, held)

    def _submit(
        self, pool: ThreadPoolExecutor, leases: Sequence[Lease], held: dict[str, tuple[str, int | None]]
    ) -> _Range | None:
        self._under_way.extend(leases)
        futures = [pool.submit(self._preparer.prepare, lease, held) for lease in leases]
        return _Range(leases, futures) if leases else None

    def _finish(self, job: Job, current: _Range) -> None:
        """Embed and write a range; if its leases were lost meanwhile, another worker does it."""
        outcomes = [future.result() for future in current.outcomes]
        new_items, refused = self._embed(job, [one for one in outcomes if isinstance(one, Prepared)])
        refused += [one for one in outcomes if isinstance(one, Refused)]
        unchanged = [Settled(one.lease, UNCHANGED) for one in outcomes if not isinstance(one, Prepared | Refused)]
        settled = [*unchanged, *(Settled(one.lease, None, one.reason, one.code) for one in refused)]
        try:
            self._write(job, new_items, settled)
        except LeaseLost as error:
            logger.warning("job %d: %s", job.id, error)
        else:
            self._on_settled(len(current.leases))
        done = {lease.id for lease in current.leases}
        self._under_way = [lease for lease in self._under_way if lease.id not in done]

    def _embed(self, job: Job, prepared: Sequence[Prepared]) -> tuple[dict[Lease, NewItem], list[Refused]]:
        """The items to write, and the inputs at which the model failed, each found by running it alone."""
        try:
            vectors = self._vectors(prepared)
        except (RuntimeError, ValueError, ArithmeticError) as error:
            if len(prepared) == 1:
                return {}, [Refused(prepared[0].lease, MODEL_FAILED, f"the model failed at it: {error}")]
            alone = [self._embed(job, [one]) for one in prepared]
            return {k: v for new, _ in alone for k, v in new.items()}, [one for _, refused in alone for one in refused]
        new_items = {}
        for row, one in enumerate(prepared):
            new_items[one.lease] = NewItem(
                key=one.lease.key,
                content_hash=one.content_hash,
                vectors={space: rows[row] for space, rows in vectors.items()},
                caption=one.caption,
                attributes=one.attributes,
                assets=one.assets,
                source_id=job.source_id,
                sample_hash=one.sample_hash,
            )
        return new_items, []

    def _vectors(self, prepared: Sequence[Prepared]) -> dict[str, FloatArray]:
        """Raw vectors of each space, (len(prepared), d); the model runs once for each content, if it ever has to.

        Raises what the model raises, `ValueError` for no numbers.
        """
        if not prepared:
            return {}
        spaces = list(self._collection.spaces)
        with self._database.read() as session:
            known = duplicates.vectors_by_sample(session, self._collection, [one.sample_hash for one in prepared])
        fresh = {one.sample_hash: one.sample for one in prepared if one.sample_hash not in known}
        made = self._embedder.embed_gallery(list(fresh.values()), spaces) if fresh else {}
        if not all(np.isfinite(rows).all() for rows in made.values()):
            raise ValueError("its vector has values that are no numbers")
        known |= {sample: {space: made[space][row] for space in spaces} for row, sample in enumerate(fresh)}
        return {space: np.stack([known[one.sample_hash][space] for one in prepared]) for space in spaces}

    def _write(self, job: Job, new_items: dict[Lease, NewItem], settled: list[Settled]) -> None:
        """Items, their log entries and the ledger's rows in one transaction. Raises `LeaseLost`: nothing is written."""
        with self._database.write() as session:
            held = items.hashes(session, self._collection, [new.key for new in new_items.values()])
            elsewhere = {
                lease for lease, new in new_items.items() if held.get(new.key, ("", new.source_id))[1] != new.source_id
            }
            refused = [Settled(lease, None, _held_elsewhere(lease), KeyHeldElsewhere.code) for lease in elsewhere]
            mine = {lease: new for lease, new in new_items.items() if lease not in elsewhere}
            again = settled_duplicates(session, self._collection, job.on_duplicate, mine)
            kept = [lease for lease in mine if lease not in {one.lease for one in again}]
            ledger.settle(session, [*settled, *refused, *again, *(Settled(lease, INDEXED) for lease in kept)])
            items.write(session, self._collection, [new_items[lease] for lease in kept])

    def _give_back(self) -> None:
        """What a worker that stops had leased; not counted against these inputs."""
        if self._under_way:
            with self._database.write() as session:
                ledger.give_back(session, self._under_way)
            self._under_way = []


def _may_lease(job: Job) -> bool:
    """Raises `JobCancelled`."""
    if job.state == JobState.CANCELLED:
        raise JobCancelled(f"job {job.id} was cancelled; index the folder again to go on")
    return job.state == JobState.RUNNING


def _held_elsewhere(lease: Lease) -> str:
    return f"the key {lease.key!r} belongs to an item of another folder or of the API; delete that one or give a key"
