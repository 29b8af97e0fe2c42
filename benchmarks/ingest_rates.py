"""Inputs a second of the same files: by the model alone, and by the indexer in this process."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from indexer.decode import decode_file
from indexer.indexing import IndexRun, Tools, open_collection, open_job
from indexer.owner import Owner
from indexer.progress import Silence
from indexer.sources.opening import open_source
from model.embedder import Embedder, Sample
from search.assets import AssetStore
from search.catalogue.jobs import Job
from search.catalogue.session import Database
from search.catalogue.upgrade import upgrade
from search.engine import SearchEngine
from search.settings import Settings, Work


@dataclass(frozen=True)
class Pace:
    """Inputs a second, and milliseconds of processor that an input took, which other work hardly changes.

    The second is None where other processes did the work.
    """

    rate: float
    processor_ms: float | None = None


Run = Callable[[], Pace]


class Watch:
    """Started when it is made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def pace(self, inputs: int) -> Pace:
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return Pace(inputs / wall, 1_000 * processor / inputs)


def bare_loop(files: Sequence[Path], embedder: Embedder, work: Work) -> Run:
    """The model without a service: files are decoded as the indexer does it, ahead, in as many threads and batches."""
    batches = [files[start : start + work.inputs_per_batch] for start in range(0, len(files), work.inputs_per_batch)]
    limits = Settings(Path()).limits

    def decoded(path: Path) -> Sample:
        return Sample({"rgb": decode_file("rgb", path, limits)})

    def begin(pool: ThreadPoolExecutor, number: int) -> list["Future[Sample]"]:
        return [pool.submit(decoded, path) for path in batches[number]] if number < len(batches) else []

    def run() -> Pace:
        watch = Watch()
        with ThreadPoolExecutor(work.decoding_threads) as pool:
            following = begin(pool, 0)
            for number in range(len(batches)):
                current, following = following, begin(pool, number + 1)
                embedder.embed_gallery([one.result() for one in current], list(embedder.spaces))
        return watch.pace(len(files))

    return run


def decoding_ms(files: Sequence[Path]) -> float:
    """Milliseconds of one core that reading and decoding a file takes."""
    limits, started = Settings(Path()).limits, time.thread_time()
    for path in files:
        decode_file("rgb", path, limits)
    return 1_000 * (time.thread_time() - started) / len(files)


def indexer(files: Sequence[Path], embedder: Embedder, work: Work) -> Run:
    """What `anyseek index` does once the model is loaded, into an empty installation each time."""

    def run() -> Pace:
        with tempfile.TemporaryDirectory() as home:
            tools = installation(Settings(Path(home), work=work), embedder)
            watch = Watch()
            job = index(tools, files[0].parent)
            pace = watch.pace(len(files))
            tools.database.close()
        assert job.counts.indexed == len(files), job
        return pace

    return run


def installation(settings: Settings, embedder: Embedder) -> Tools:
    settings.home.mkdir(exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    engine = SearchEngine(database, settings, embedder)
    return Tools(settings, database, AssetStore(settings.assets), embedder, engine)


def index(tools: Tools, folder: Path, progress: Silence | None = None) -> Job:
    """From an empty collection to the snapshot of a full one."""
    collection, source = open_collection(tools, "c"), open_source(tools.settings, folder)
    with Owner(tools.database, tools.settings) as owner:
        job = open_job(tools.database, collection, source, owner, prune=False)
        return IndexRun(tools, collection, source, owner, progress or Silence()).run(job)
