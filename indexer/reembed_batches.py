"""Leased items of a re-embedding: originals decoded ahead in threads, embedded as a batch, logged in a transaction."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from indexer.indexing import Tools
from indexer.originals import original_values
from indexer.owner import Owner
from indexer.pipeline import MODEL_FAILED
from indexer.progress import Progress
from indexer.samples import sample_for
from model.embedder import Embedder, FloatArray, Sample
from search.assets import AssetStore
from search.catalogue import collections, items, jobs, ledger, reembedding
from search.catalogue.beside import Target
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import UNCHANGED, Lease, Settled, Span
from search.catalogue.reembedding import Made
from search.catalogue.session import Database
from search.errors import AnyseekError, BadInput, FingerprintMismatch, LeaseLost
from search.settings import Settings
from search.types import Item

logger = logging.getLogger(__name__)


class NothingToEmbed(BadInput):
    code = "nothing-to-embed"


@dataclass(frozen=True)
class Means:
    """What a re-embedding works with.

    `load` gives the tools with the model of a name, loaded when it is first called; `prepare` writes snapshots of the
    spaces that are being built in a collection, so that they serve at once after the switch.
    """

    settings: Settings
    database: Database
    assets: AssetStore
    load: Callable[[str], Tools]
    prepare: Callable[[str], None]


@dataclass(frozen=True)
class _Range:
    """Leased items on their way; None in the place of one that was deleted meanwhile."""

    leases: Sequence[Lease]
    items: Sequence[Item | None]
    samples: Sequence["Future[Sample | AnyseekError | None]"]


class Batches:
    """Settles items of a job until none can be leased. One call of `work` at a time."""

    def __init__(self, means: Means, job: Job, target: Target, owner: Owner, progress: Progress) -> None:
        self._database = means.database
        self._assets = means.assets
        self._settings = means.settings
        self._load = means.load
        self._job = job
        self._target = target
        self._owner = owner
        self._progress = progress
        self._under_way: list[Lease] = []

    def work(self, span: Span | None) -> None:
        """While the model works on one range the next is decoded, and never more than these two are in memory.

        Raises `JobStopped`, and `FingerprintMismatch` if the model is not the target's or the job was cancelled;
        leases are given back then.
        """
        pool = ThreadPoolExecutor(self._settings.work.decoding_threads, thread_name_prefix="decode")
        try:
            following = self._begin(span, pool)
            while current := following or self._begin(span, pool, suspect=True):
                # Nothing else may be under way while a suspect is, so that a death is its doing alone.
                following = self._begin(span, pool) if following else None
                self._settle(current)
                following = following or self._begin(span, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            self._give_back()

    def make(self, found: Sequence[Item]) -> list[Made]:
        """The vectors of a few items now, without leases; of fewer if some cannot be made."""
        made = []
        for item in found:
            sample = self._sample(item)
            vectors = self._vectors([sample]) if isinstance(sample, Sample) else None
            if vectors is not None:
                made.append(Made(item.id, item.revision, vectors[0]))
        return made

    def _embedder(self) -> Embedder:
        embedder = self._load(self._target.model).embedder
        if self._target.fingerprints != {name: space.fingerprint for name, space in embedder.spaces.items()}:
            raise FingerprintMismatch(
                f"the weights of {self._target.model} are others than when this began; cancel the job and start again"
            )
        return embedder

    def _begin(self, span: Span | None, pool: ThreadPoolExecutor, suspect: bool = False) -> _Range | None:
        self._owner.check()
        with self._database.write() as session:
            if jobs.get(session, self._job.id).state != JobState.RUNNING:
                return None
            ledger.void(session, self._job.id, self._owner.living(session))
            lasts = timedelta(seconds=self._settings.work.task_seconds)
            if suspect:
                one = ledger.lease_suspect(session, self._job.id, self._owner.name, lasts, span)
                leases = [one] if one else []
            else:
                most = self._settings.work.inputs_per_batch
                leases = ledger.lease_range(session, self._job.id, self._owner.name, most, lasts, span)
            collection = collections.get(session, self._job.collection)
            found = items.by_keys(session, collection, [lease.key for lease in leases])
        self._under_way.extend(leases)
        if leases:
            self._embedder()  # loaded before threads ask what it takes
        held = [found.get(lease.key) for lease in leases]
        return _Range(leases, held, [pool.submit(self._sample, item) for item in held]) if leases else None

    def _sample(self, item: Item | None) -> Sample | AnyseekError | None:
        """What the model sees of an item, or why it cannot be embedded."""
        if item is None:
            return None
        embedder = self._embedder()
        try:
            sample = sample_for(original_values(item, self._assets, self._settings.limits), embedder.modalities)
        except AnyseekError as error:
            return error
        if sample.values:
            return sample
        takes = ", ".join(sorted(embedder.modalities))
        return NothingToEmbed(f"the item {item.key!r} has nothing that {embedder.name} takes; it takes {takes}")

    def _settle(self, current: _Range) -> None:
        """Embed and write a range; if its leases were lost meanwhile, another process does it."""
        made, settled = self._outcomes(current)
        try:
            with self._database.write() as session:
                again = reembedding.write(session, self._target, made, settled)
        except LeaseLost as error:
            logger.warning("job %d: %s", self._job.id, error)
        else:
            self._progress.settled(len(current.leases) - again)
        done = {lease.id for lease in current.leases}
        self._under_way = [lease for lease in self._under_way if lease.id not in done]

    def _outcomes(self, current: _Range) -> tuple[list[tuple[Lease, Made]], list[Settled]]:
        """The vectors to log, and the inputs for which there are none."""
        settled: list[Settled] = []
        there: list[tuple[Lease, Item, Sample]] = []
        for lease, item, future in zip(current.leases, current.items, current.samples, strict=True):
            sample = future.result()
            if item is None or sample is None:
                settled.append(Settled(lease, UNCHANGED))
            elif isinstance(sample, Sample):
                there.append((lease, item, sample))
            else:
                settled.append(Settled(lease, None, str(sample), sample.code))
        made = []
        rows = self._vectors([sample for _, _, sample in there])
        for place, (lease, item, sample) in enumerate(there):
            own = rows[place : place + 1] if rows is not None else self._vectors([sample])
            if own:
                made.append((lease, Made(item.id, item.revision, own[0])))
            else:
                settled.append(Settled(lease, None, f"the model {self._target.model} failed at it", MODEL_FAILED))
        return made, settled

    def _vectors(self, samples: Sequence[Sample]) -> list[dict[str, FloatArray]] | None:
        """The raw vectors of each sample by space; None if the model fails at one of the samples."""
        if not samples:
            return []
        try:
            vectors = self._embedder().embed_gallery(samples, list(self._target.spaces))
        except (RuntimeError, ValueError, ArithmeticError) as error:
            logger.warning("the model %s failed at one of %d items: %s", self._target.model, len(samples), error)
            return None
        if not all(np.isfinite(rows).all() for rows in vectors.values()):
            return None
        return [{name: rows[place] for name, rows in vectors.items()} for place in range(len(samples))]

    def _give_back(self) -> None:
        """What was leased by a run that stops; not counted against these inputs."""
        if self._under_way:
            with self._database.write() as session:
                ledger.give_back(session, self._under_way)
            self._under_way = []
