"""A job that gives every item of a collection the vectors of another model, then switches to them.

Meanwhile the collection can be queried, and items put and deleted, with its current model.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from anyseek.indexer.pipeline import MODEL_ERRORS, Embed, Pipeline, Prepared, Vectors, embed_samples
from anyseek.indexer.runs import JobRun, Owner, Progress, Tools
from anyseek.indexer.samples import read_originals, sample_for
from anyseek.model.seam import Embedder, Sample
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import collections, items, jobs, ledger, reembedding, space_switch
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import UNCHANGED, Lease, Settled, Span
from anyseek.search.catalogue.reembedding import Made
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.space_switch import Lacking, NothingBuilt, Target
from anyseek.search.errors import AnyseekError, BadInput, FingerprintMismatch
from anyseek.search.settings import Settings
from anyseek.search.types import Item

logger = logging.getLogger(__name__)


class NothingToEmbed(BadInput):
    code = "nothing-to-embed"


@dataclass(frozen=True)
class ReembedTools:
    """What a re-embedding works with.

    `load` gives the tools with the model of a name, loaded when it is first called; `prepare` writes snapshots of the
    spaces that are being built in a collection, so that they serve at once after the switch.
    """

    settings: Settings
    database: Database
    assets: AssetStore
    load: Callable[[str], Tools]
    prepare: Callable[[str], None]


class ReembedRun(JobRun):
    """One process's part in moving a collection to another model, or back to one. The model is loaded when needed."""

    def __init__(self, tools: ReembedTools, owner: Owner, progress: Progress) -> None:
        super().__init__(owner, progress)
        self._tools = tools
        self._listed_seq = 0  # items that lacked vectors at this position of the log were listed

    def work(self, job: Job, span: Span | None = None) -> None:
        strategy = ItemsToEmbed(self._tools, job, self._target(job))
        Pipeline(self._owner, self._progress, strategy).work(job, span)

    def end(self, job: Job) -> bool:
        """List items that have come to lack vectors; if they are few or none, switch: see `reembedding.finish`."""
        target = self._target(job)
        with self._database.read() as session:
            if ledger.has_open(session, job.id):
                return False
            more = reembedding.untried(session, job.id, target, self._listed_seq)
        if (not self._listed_seq or len(more) > reembedding.LAST) and self._list_lacking(job, target):
            return True
        self._tools.prepare(job.collection)
        strategy = ItemsToEmbed(self._tools, job, target)

        def make_last(session: Session, last: Sequence[Lacking]) -> Sequence[Made]:
            return strategy.make(items.by_ids(session, [lacking.item_id for lacking in last]).values())

        with self._database.write() as session:
            if reembedding.finish(session, job.id, target, self._listed_seq, make_last):
                return True
        return bool(self._list_lacking(job, target))

    def _step(self, job: Job) -> bool:
        try:
            return super()._step(job)
        except (FingerprintMismatch, NothingBuilt):
            if self._now(job).active:
                raise
            return True  # it was cancelled, and its spaces are gone

    def _list(self, job: Job) -> None:
        listed = self._list_lacking(job, self._target(job))
        with self._database.write() as session:
            if jobs.start(session, job.id, self._owner.name, 0):
                self._progress.started(listed)

    def _target(self, job: Job) -> Target:
        with self._database.read() as session:
            found = space_switch.target(session, collections.head(session, job.collection).id)
        if found is None:
            raise NothingBuilt(
                f"no new vectors are being made for the collection {job.collection!r} any more; start again"
            )
        return found

    def _list_lacking(self, job: Job, target: Target) -> int:
        """List items in the ledger while the job stays in its state; return how many lacked vectors."""
        listed = after = 0
        since = self._listed_seq
        with self._database.read() as session:
            seq = collections.head_by_id(session, target.collection_id).last_seq
        while True:
            self._owner.check()
            with self._database.write() as session:
                if jobs.get_locked(session, job.id).state != job.state:
                    return listed
                page = reembedding.list_page(session, job.id, target, after, since)
            if not page:
                self._listed_seq = seq
                return listed
            listed, after = listed + len(page), page[-1].item_id
            self._progress.scanned(len(page))


@dataclass(frozen=True)
class PreparedItem(Prepared):
    """An item as it was at `revision`."""

    item_id: int
    revision: int


class ItemsToEmbed:
    """Implements `Strategy` for items of the catalogue: their originals are read again, their new vectors logged."""

    def __init__(self, tools: ReembedTools, job: Job, target: Target) -> None:
        self._tools = tools
        self._collection = job.collection
        self._target = target

    @property
    def threads(self) -> int:
        return self._tools.settings.work.decoding_threads

    def look_up(self, session: Session, leases: Sequence[Lease]) -> Mapping[str, Item]:
        collection = collections.get(session, self._collection)
        return items.by_keys(session, collection, [lease.key for lease in leases])

    def preparer(self, held: Mapping[str, Item]) -> Callable[[Lease], PreparedItem | Settled]:
        """As `Strategy.preparer`. Raises `FingerprintMismatch` if the model is not the target's."""
        embedder = self._embedder()

        def prepare(lease: Lease) -> PreparedItem | Settled:
            item = held.get(lease.key)
            if item is None:  # it has been deleted in the meantime
                return Settled(lease, UNCHANGED)
            try:
                sample = self._sample(item, embedder)
            except AnyseekError as error:
                return Settled(lease, None, str(error), error.code)
            return PreparedItem(lease, sample, item.id, item.revision)

        return prepare

    def embed(self, prepared: Sequence[PreparedItem], embed: Embed) -> Sequence[Vectors]:
        return embed(self._embedder(), [item.sample for item in prepared], list(self._target.spaces))

    def write(self, session: Session, made: Sequence[tuple[PreparedItem, Vectors]], settled: Sequence[Settled]) -> int:
        """As `reembedding.write`."""
        entries = [(item.lease, Made(item.item_id, item.revision, vectors)) for item, vectors in made]
        return reembedding.write(session, self._target, entries, settled)

    def make(self, found: Iterable[Item]) -> list[Made]:
        """The vectors of a few items, made now without leases; those that cannot be made are left out."""
        embedder, spaces = self._embedder(), list(self._target.spaces)
        made = []
        for item in found:
            try:
                (vectors,) = embed_samples(embedder, [self._sample(item, embedder)], spaces)
            except (AnyseekError, *MODEL_ERRORS) as error:
                logger.warning("the item %r cannot be embedded with %s: %s", item.key, self._target.model, error)
            else:
                made.append(Made(item.id, item.revision, vectors))
        return made

    def _embedder(self) -> Embedder:
        embedder = self._tools.load(self._target.model).embedder
        if self._target.fingerprints != {name: space.fingerprint for name, space in embedder.spaces.items()}:
            raise FingerprintMismatch(
                f"the weights of {self._target.model} have changed since the job began; cancel the job and start again"
            )
        return embedder

    def _sample(self, item: Item, embedder: Embedder) -> Sample:
        """What the model sees of an item. Raises `AnyseekError` if it cannot be embedded."""
        sample = sample_for(read_originals(item, self._tools.assets, self._tools.settings.limits), embedder.modalities)
        if not sample.values:
            takes = ", ".join(sorted(embedder.modalities))
            raise NothingToEmbed(f"the item {item.key!r} has nothing that {embedder.name} takes; it takes {takes}")
        return sample
