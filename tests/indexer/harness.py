"""An installation in a temporary folder with the hashing model, for the tests of this folder."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.reembed import ReembedContext
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.catalogue import collections, facets, items, ledger
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import Failure
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import checked
from anyseek.search.settings import Limits, Settings
from anyseek.search.types import Item, OnDuplicate
from anyseek.search.upkeep.verify import verify
from tests.search.gallery import all_items, begin_catalogue

NAME = "c"
OF_ANY_FILE = ("width", "height", "orientation", "file_size", "format")


class Counting:
    """A `Progress` that adds up what it is told."""

    def __init__(self) -> None:
        self.found = self.waiting = self.done = 0

    def scanned(self, inputs: int) -> None:
        self.found += inputs

    def started(self, inputs: int) -> None:
        self.waiting = inputs

    def settled(self, inputs: int) -> None:
        self.done += inputs


class Watched(HashingEmbedder):
    """Counts what it embeds for items."""

    embedded = 0

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.embedded += len(samples)
        return super().embed_gallery(samples, spaces)


class Trapped(HashingEmbedder):
    """Does something else when it meets a picture whose first pixel is pure red."""

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        for sample in samples:
            picture = sample.values["rgb"]
            assert isinstance(picture, np.ndarray)
            if picture[0, 0].tolist() == [255, 0, 0]:
                self.spring()
        return super().embed_gallery(samples, spaces)

    def spring(self) -> None:
        """The trap: the process dies at once."""
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def installation(
    home: Path, embedder: Embedder | None = None, limits: Limits | None = None, settings: Settings | None = None
) -> Iterator[IndexerContext]:
    settings = settings or Settings(home, limits or Limits())
    settings.home.mkdir(exist_ok=True)
    if settings.database_url.startswith("sqlite"):
        begin_catalogue(settings.home)
    database = Database(settings.database_url)
    upgrade(database)
    embedder = embedder or HashingEmbedder()
    engine = SearchEngine(database, settings, embedder)
    yield IndexerContext(settings, database, FolderAssetStore(settings.assets), embedder, engine)
    database.close()


def index(
    context: IndexerContext,
    name_of_source: str | Path,
    prune: bool = False,
    progress: Counting | None = None,
    name: str = NAME,
    on_duplicate: OnDuplicate = OnDuplicate.LINK,
    predicts: bool | None = None,
) -> Job:
    """What `anyseek index` does."""
    source = open_source(context.settings, name_of_source)
    collection = ensure_collection(context, name)
    with Owner(context.database, context.settings) as owner:
        job = open_job(collection, source, owner, prune, on_duplicate=on_duplicate, predicts=predicts)
        return IndexRun(lambda: context, source, owner, progress or Counting()).run(job)


def job_for(context: IndexerContext, name_of_source: str | Path) -> Job:
    """A job that nobody works on yet."""
    owner = Owner(context.database, context.settings)
    source, collection = open_source(context.settings, name_of_source), ensure_collection(context, NAME)
    return open_job(collection, source, owner, prune=False, adopt=False)


def held(context: IndexerContext) -> dict[str, Item]:
    with context.database.read() as session:
        collection = collections.get(session, NAME)
        return {item.key: item for item in all_items(session, collection)}


def found(context: IndexerContext, where: str) -> set[str]:
    """The keys of items that pass a written filter."""
    with context.database.read() as session:
        collection = collections.get(session, NAME)
        ids = facets.matching_ids(session, collection.id, checked(filter_from_text(where)))
        return {item.key for item in items.by_ids(session, ids.tolist()).values()}


def given(item: Item) -> dict[str, Any]:
    """The attributes of an item but those that every picture file has."""
    return {name: value for name, value in item.attributes.items() if name not in OF_ANY_FILE}


def failures(context: IndexerContext, job: Job) -> dict[str, Failure]:
    with context.database.read() as session:
        return {failure.uri: failure for failure in ledger.list_failures(session, job.id)}


def numbers(job: Job) -> tuple[int, int, int, int]:
    """Indexed, unchanged, quarantined, pruned."""
    return job.counts.indexed, job.counts.unchanged, job.counts.quarantined, job.pruned


def check_agreement(context: IndexerContext) -> None:
    assert verify(context.database, context.settings) == []


def reembed_context(context: IndexerContext) -> ReembedContext:
    """What a re-embedding works with where there is one model."""
    return ReembedContext(
        context.settings, context.database, context.assets, lambda model: context, lambda collection: None
    )
