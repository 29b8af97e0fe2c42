"""The re-embedding job: it embeds every item of a collection with another model, then switches to it.

Until then the collection can be queried and changed with its current model.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from anyseek.indexer.pipeline import MODEL_ERRORS, Embed, Pipeline, Prepared, Vectors, embed_samples
from anyseek.indexer.runs import IndexerContext, JobRun, Owner, Progress
from anyseek.indexer.samples import read_originals, sample_for
from anyseek.model.seam import Embedder, Sample
from anyseek.search.assets.base import AssetStore
from anyseek.search.catalogue import collections, items, jobs, ledger, reembedding, space_switch
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import UNCHANGED, InputResult, Lease, Span
from anyseek.search.catalogue.reembedding import NewVectors
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.space_switch import IncompleteItem, NothingBuilt, Target
from anyseek.search.errors import AnyseekError, BadInput, FingerprintMismatch
from anyseek.search.settings import Settings
from anyseek.search.taught import teaching
from anyseek.search.types import Item

logger = logging.getLogger(__name__)


class NothingToEmbed(BadInput):
    code = "nothing-to-embed"


@dataclass(frozen=True)
class ReembedContext:
    """The dependencies of a re-embedding.

    `load` returns the context of a model by name, loaded lazily; `prepare` writes snapshots of the spaces that are
    being built in a collection, so that queries are fast right after the switch.
    """

    settings: Settings
    database: Database
    assets: AssetStore
    load: Callable[[str], IndexerContext]
    prepare: Callable[[str], None]


class ReembedRun(JobRun):
    """The run of a re-embedding or rollback job. The model is loaded lazily."""

    def __init__(self, context: ReembedContext, owner: Owner, progress: Progress) -> None:
        super().__init__(owner, progress)
        self._context = context
        self._listed_seq = 0  # log position up to which items without vectors are listed

    def work(self, job: Job, span: Span | None = None) -> None:
        strategy = ReembedStrategy(self._context, job, self._target(job))
        Pipeline(self._owner, self._progress, strategy).work(job, span)

    def end(self, job: Job) -> bool:
        """List items that still lack vectors; if there are only a few, switch. See `reembedding.finish`."""
        target = self._target(job)
        with self._database.read() as session:
            if ledger.has_open(session, job.id):
                return False
            untried = reembedding.untried_items(session, job.id, target, self._listed_seq)
        if (not self._listed_seq or len(untried) > reembedding.MAX_REMAINING) and self._list_lacking(job, target):
            return True
        self._context.prepare(job.collection)
        strategy = ReembedStrategy(self._context, job, target)

        def embed_last(session: Session, lacking_items: Sequence[IncompleteItem]) -> Sequence[NewVectors]:
            return strategy.embed_now(items.by_ids(session, [lacking.item_id for lacking in lacking_items]).values())

        with self._database.write() as session:
            is_finished = reembedding.finish(session, job.id, target, self._listed_seq, embed_last)
        if is_finished:
            teaching.refresh(self._database, job.collection, lambda: self._context.load(target.model).embedder)
            return True
        return bool(self._list_lacking(job, target))

    def _step(self, job: Job) -> bool:
        try:
            return super()._step(job)
        except (FingerprintMismatch, NothingBuilt):
            if self._reread(job).active:
                raise
            return True  # it was cancelled, and its spaces were dropped

    def _list_inputs(self, job: Job) -> None:
        listed = self._list_lacking(job, self._target(job))
        with self._database.write() as session:
            if jobs.start(session, job.id, self._owner.name, 0):
                self._progress.started(listed)

    def _target(self, job: Job) -> Target:
        with self._database.read() as session:
            found = space_switch.target(session, collections.head(session, job.collection).id)
        if found is None:
            raise NothingBuilt(
                f"the collection {job.collection!r} has no re-embedding under way any more; start a new one"
            )
        return found

    def _list_lacking(self, job: Job, target: Target) -> int:
        """Add items that lack vectors to the ledger while the job's state is unchanged; return their number."""
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
    """An item at `revision`."""

    item_id: int
    revision: int


class ReembedStrategy:
    """`Strategy` for items of the catalogue: reads their originals again and logs their new vectors."""

    def __init__(self, context: ReembedContext, job: Job, target: Target) -> None:
        self._context = context
        self._collection = job.collection
        self._target = target

    @property
    def threads(self) -> int:
        return self._context.settings.work.decoding_threads

    def look_up(self, session: Session, leases: Sequence[Lease]) -> Mapping[str, Item]:
        collection = collections.get(session, self._collection)
        return items.by_keys(session, collection, [lease.key for lease in leases])

    def make_preparer(self, stored: Mapping[str, Item]) -> Callable[[Lease], PreparedItem | InputResult]:
        """See `Strategy.make_preparer`. Raises `FingerprintMismatch` if the model is not the target's."""
        embedder = self._embedder()

        def prepare(lease: Lease) -> PreparedItem | InputResult:
            item = stored.get(lease.key)
            if item is None:  # it was deleted meanwhile
                return InputResult(lease, UNCHANGED)
            try:
                sample = self._sample(item, embedder)
            except AnyseekError as error:
                return InputResult(lease, None, str(error), error.code)
            return PreparedItem(lease, sample, item.id, item.revision)

        return prepare

    def embed(self, prepared: Sequence[PreparedItem], embed: Embed) -> Sequence[Vectors]:
        return embed(self._embedder(), [item.sample for item in prepared], list(self._target.spaces))

    def write(
        self, session: Session, made: Sequence[tuple[PreparedItem, Vectors]], settled: Sequence[InputResult]
    ) -> int:
        """See `reembedding.write`."""
        entries = [(item.lease, NewVectors(item.item_id, item.revision, vectors)) for item, vectors in made]
        return reembedding.write(session, self._target, entries, settled)

    def embed_now(self, last_items: Iterable[Item]) -> list[NewVectors]:
        """Embed a few items at once, without leases; items that fail are logged and skipped."""
        embedder, spaces = self._embedder(), list(self._target.spaces)
        embedded = []
        for item in last_items:
            try:
                (vectors,) = embed_samples(embedder, [self._sample(item, embedder)], spaces)
            except (AnyseekError, *MODEL_ERRORS) as error:
                logger.warning("the item %r cannot be embedded with %s: %s", item.key, self._target.model, error)
            else:
                embedded.append(NewVectors(item.id, item.revision, vectors))
        return embedded

    def _embedder(self) -> Embedder:
        embedder = self._context.load(self._target.model).embedder
        if self._target.fingerprints != {name: space.fingerprint for name, space in embedder.spaces.items()}:
            raise FingerprintMismatch(
                f"the weights of {self._target.model} have changed since the job began; cancel the job and start again"
            )
        return embedder

    def _sample(self, item: Item, embedder: Embedder) -> Sample:
        """The sample of an item for the model. Raises `AnyseekError` if it cannot be embedded."""
        sample = sample_for(
            read_originals(item, self._context.assets, self._context.settings.limits), embedder.modalities
        )
        if not sample.values:
            names = ", ".join(sorted(embedder.modalities))
            raise NothingToEmbed(f"the item {item.key!r} has no modality that {embedder.name} takes; it takes {names}")
        return sample
