"""The bulk pipeline: leased inputs -> decoded ahead in threads -> embedded as a batch -> written in one transaction.

While the model works on one range the next is decoded, and never more than these two are in memory.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from indexer.errors import JobCancelled
from indexer.owner import Owner
from indexer.prepare import Outcome, Prepared, Preparer, Refused
from model.embedder import Embedder, FloatArray
from search.catalogue import items, jobs, ledger
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import INDEXED, UNCHANGED, Lease, Settled
from search.catalogue.session import Database
from search.errors import KeyHeldElsewhere, LeaseLost
from search.types import Collection, NewItem

logger = logging.getLogger(__name__)

RANGE = 32
DECODING_THREADS = 2
LEASE_TIME = timedelta(minutes=10)
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
        collection: Collection,
        preparer: Preparer,
        owner: Owner,
        on_settled: Callable[[int], None],
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._collection = collection
        self._preparer = preparer
        self._owner = owner
        self._on_settled = on_settled
        self._under_way: list[Lease] = []

    def work(self, job: Job) -> None:
        """Lease and settle until nothing is pending, or the job is scanned anew.

        Raises `JobCancelled`, `JobStopped`, and `SourceGone` if the folder goes away; leases are given back then.
        """
        pool = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode")
        try:
            following = self._begin(job, pool)
            while current := following or self._begin_suspect(job, pool):
                # Nothing else may be under way while a suspect is, so that a death is its doing alone.
                following = self._begin(job, pool) if following else None
                self._finish(job, current)
                following = following or self._begin(job, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            self._give_back()

    def _begin(self, job: Job, pool: ThreadPoolExecutor) -> _Range | None:
        self._owner.check()
        with self._database.write() as session:
            if not _may_lease(jobs.get(session, job.id)):
                return None
            ledger.void(session, job.id, self._owner.is_alive)
            leases = ledger.lease_range(session, job.id, self._owner.name, RANGE, LEASE_TIME)
            held = items.hashes(session, self._collection, [lease.key for lease in leases])
        return self._submit(pool, leases, held)

    def _begin_suspect(self, job: Job, pool: ThreadPoolExecutor) -> _Range | None:
        self._owner.check()
        with self._database.write() as session:
            if not _may_lease(jobs.get(session, job.id)):
                return None
            lease = ledger.lease_suspect(session, job.id, self._owner.name, LEASE_TIME)
            leases = [lease] if lease else []
            held = items.hashes(session, self._collection, [lease.key for lease in leases])
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
            self._write(new_items, settled)
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
            )
        return new_items, []

    def _vectors(self, prepared: Sequence[Prepared]) -> dict[str, FloatArray]:
        """Raw vectors of each space, (len(prepared), d). Raises what the model raises, `ValueError` for no numbers."""
        if not prepared:
            return {}
        vectors = self._embedder.embed_gallery([one.sample for one in prepared], list(self._collection.spaces))
        if not all(np.isfinite(rows).all() for rows in vectors.values()):
            raise ValueError("its vector has values that are no numbers")
        return vectors

    def _write(self, new_items: dict[Lease, NewItem], settled: list[Settled]) -> None:
        """Items, their log entries and the ledger's rows in one transaction. Raises `LeaseLost`: nothing is written."""
        with self._database.write() as session:
            held = items.hashes(session, self._collection, [new.key for new in new_items.values()])
            elsewhere = {
                lease for lease, new in new_items.items() if held.get(new.key, ("", new.source_id))[1] != new.source_id
            }
            refused = [Settled(lease, None, _held_elsewhere(lease), KeyHeldElsewhere.code) for lease in elsewhere]
            mine = [lease for lease in new_items if lease not in elsewhere]
            ledger.settle(session, [*settled, *refused, *(Settled(lease, INDEXED) for lease in mine)])
            items.write(session, self._collection, [new_items[lease] for lease in mine])

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
