"""Inputs per second on the same files: of the model alone, and of the indexer in this process."""

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
from anyseek.search.assets.opening import open_assets
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings, Work

LARGE, SMALL = (4_000, 3_000), (320, 240)
_PHOTOS = 16  # distinct pictures; further files repeat one with other bytes after the end of the picture
FILES_A_FOLDER = 1_000


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write JPEGs with soft shapes and grain, as photos have them, no two files equal; return their paths, sorted."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    width, height = size
    grain = rng.integers(-12, 13, (height, width, 1), np.int8).astype(np.int16)
    photos = [encode_photo(rng, grain, size) for _ in range(min(count, _PHOTOS))]
    for number in range(count):
        suffix = b"" if number < _PHOTOS else f"photo {number}".encode()
        (folder / f"{number:05}.jpg").write_bytes(photos[number % _PHOTOS] + suffix)
    return sorted(folder.iterdir())


def encode_photo(rng: np.random.Generator, grain: np.ndarray, size: tuple[int, int]) -> bytes:
    """A JPEG of random soft shapes of this (width, height), with grain (height, width, 1)."""
    shapes = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    soft = np.asarray(shapes.resize(size, Image.Resampling.BICUBIC), np.int16)
    picture = np.clip(soft + np.roll(grain, int(rng.integers(size[0])), axis=1), 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=85)
    return data.getvalue()


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 (height, width, 3) as a PNG, ten times as fast as Pillow does."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row starts with its filter type, 0
    rows[:, 1:] = pixels.reshape(height, -1)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )


@dataclass(frozen=True)
class Rate:
    """Throughput, and processor time of an input, which other load hardly changes; None if other processes worked."""

    inputs_per_second: float
    processor_ms: float | None = None


Run = Callable[[], Rate]


class Stopwatch:
    """Measures wall and processor time from its creation."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def rate(self, inputs: int) -> Rate:
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return Rate(inputs / wall, 1_000 * processor / inputs)


def bare_loop(files: Sequence[Path], embedder: Embedder, work: Work) -> Run:
    """Embeds without an index; decodes ahead like the indexer, with its number of threads and batch size."""
    batches = [files[start : start + work.inputs_per_batch] for start in range(0, len(files), work.inputs_per_batch)]
    limits = Settings(Path()).limits

    def decode(path: Path) -> Sample:
        return Sample({"rgb": decode_file("rgb", path, limits)})

    def submit_batch(pool: ThreadPoolExecutor, number: int) -> list["Future[Sample]"]:
        return [pool.submit(decode, path) for path in batches[number]] if number < len(batches) else []

    def run() -> Rate:
        stopwatch = Stopwatch()
        with ThreadPoolExecutor(work.decoding_threads) as pool:
            following = submit_batch(pool, 0)
            for number in range(len(batches)):
                current, following = following, submit_batch(pool, number + 1)
                embedder.embed_gallery([sample.result() for sample in current], list(embedder.spaces))
        return stopwatch.rate(len(files))

    return run


def decoding_ms(files: Sequence[Path]) -> float:
    """Mean processor time of reading and decoding a file, in milliseconds."""
    limits, start = Settings(Path()).limits, time.thread_time()
    for path in files:
        decode_file("rgb", path, limits)
    return 1_000 * (time.thread_time() - start) / len(files)


def indexer(files: Sequence[Path], embedder: Embedder, settings: Settings) -> Run:
    """Runs what `anyseek index` does once the model is loaded, each time in an empty data directory."""

    def run() -> Rate:
        with tempfile.TemporaryDirectory() as home:
            context = open_context(Settings(Path(home), work=settings.work, photos=settings.photos), embedder)
            stopwatch = Stopwatch()
            job = index_folder(context, files[0].parent)
            rate = stopwatch.rate(len(files))
            context.database.close()
        assert job.counts.indexed == len(files), job
        return rate

    return run


def open_context(settings: Settings, embedder: Embedder) -> IndexerContext:
    settings.home.mkdir(exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    engine = SearchEngine(database, settings, embedder)
    return IndexerContext(settings, database, open_assets(settings), embedder, engine)


def index_folder(context: IndexerContext, folder: Path, progress: NoProgress | None = None) -> Job:
    """Index a folder into a new collection `c`, up to its first snapshot."""
    collection, source = ensure_collection(context, "c"), open_source(context.settings, folder)
    with Owner(context.database, context.settings) as owner:
        job = open_job(collection, source, owner, prune=False)
        return IndexRun(lambda: context, source, owner, progress or NoProgress()).run(job)
