"""Measure inputs per second on the same files: by the model alone, and by the indexer in this process."""

import io
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.runs import IndexerContext, NoProgress, Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Embedder, Sample
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings, Work

LARGE, SMALL = (4_000, 3_000), (320, 240)
_PHOTOS = 16  # that differ in what they show; others are other files by what stands behind the end of the picture
FILES_A_FOLDER = 1_000


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs with soft shapes and grain, as photos have them; no two files are equal. Returns them sorted."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    width, height = size
    grain = chance.integers(-12, 13, (height, width, 1), np.int8).astype(np.int16)
    photos = [_photo(chance, grain, size) for _ in range(min(count, _PHOTOS))]
    for number in range(count):
        behind = b"" if number < _PHOTOS else f"photo {number}".encode()
        (folder / f"{number:05}.jpg").write_bytes(photos[number % _PHOTOS] + behind)
    return sorted(folder.iterdir())


def _photo(chance: np.random.Generator, grain: np.ndarray, size: tuple[int, int]) -> bytes:
    shapes = Image.fromarray(chance.integers(0, 255, (6, 8, 3), np.uint8))
    soft = np.asarray(shapes.resize(size, Image.Resampling.BICUBIC), np.int16)
    picture = np.clip(soft + np.roll(grain, int(chance.integers(size[0])), axis=1), 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=85)
    return data.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """A picture of uint8 (height, width, 3) as a PNG, written by hand, which is ten times as fast as Pillow."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )


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
                embedder.embed_gallery([decoded.result() for decoded in current], list(embedder.spaces))
        return watch.pace(len(files))

    return run


def decoding_ms(files: Sequence[Path]) -> float:
    """Milliseconds of one core that reading and decoding a file takes."""
    limits, started = Settings(Path()).limits, time.thread_time()
    for path in files:
        decode_file("rgb", path, limits)
    return 1_000 * (time.thread_time() - started) / len(files)


def indexer(files: Sequence[Path], embedder: Embedder, settings: Settings) -> Run:
    """What `anyseek index` does once the model is loaded, into an empty installation each time."""

    def run() -> Pace:
        with tempfile.TemporaryDirectory() as home:
            context = installation(Settings(Path(home), work=settings.work, photos=settings.photos), embedder)
            watch = Watch()
            job = index(context, files[0].parent)
            pace = watch.pace(len(files))
            context.database.close()
        assert job.counts.indexed == len(files), job
        return pace

    return run


def installation(settings: Settings, embedder: Embedder) -> IndexerContext:
    settings.home.mkdir(exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    engine = SearchEngine(database, settings, embedder)
    return IndexerContext(settings, database, AssetStore(settings.assets), embedder, engine)


def index(context: IndexerContext, folder: Path, progress: NoProgress | None = None) -> Job:
    """From an empty collection to the snapshot of a full one."""
    collection, source = ensure_collection(context, "c"), open_source(context.settings, folder)
    with Owner(context.database, context.settings) as owner:
        job = open_job(collection, source, owner, prune=False)
        return IndexRun(lambda: context, source, owner, progress or NoProgress()).run(job)
