"""Searches during inserts and during the writing of a snapshot, and the first answer after a restart."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError
from anyseek.search.spaces.local import space as space_index
from anyseek.search.types import Part, Query
from benchmarks.reporting import call_in_process
from benchmarks.search.gallery import COLLECTION, SPACE, Gallery, LookupEmbedder, key_of, open_catalogue, put_items
from benchmarks.search.measures import Search, engine_search

BATCH_SIZE = 50


class Writer(threading.Thread):
    """Puts items at `rate` per second until `stop`, and queries one of each batch once it is acknowledged."""

    def __init__(self, engine: SearchEngine, database: Database, gallery: Gallery, most: int, rate: int) -> None:
        super().__init__()
        self._engine, self._database, self._rate = engine, database, rate
        self._first, self._vectors = gallery.size, gallery.later(most)
        self._stopped = threading.Event()
        self.written = 0
        self.visibility_seconds: list[float] = []
        self._failure: Exception | None = None

    def run(self) -> None:
        try:
            self.put_all()
        except (AnyseekError, SQLAlchemyError, OSError, RuntimeError) as error:
            self._failure = error  # raised by `stop`

    def put_all(self) -> None:
        """Put all items unless stopped; callable without starting the thread."""
        due = time.perf_counter()
        while self.written < len(self._vectors) and not self._stopped.is_set():
            self._put_batch()
            due += BATCH_SIZE / self._rate
            self._stopped.wait(max(0.0, due - time.perf_counter()))

    def _put_batch(self) -> None:
        number = self._first + self.written
        put_items(self._database, self._vectors[self.written : self.written + BATCH_SIZE], number)
        acknowledged = time.perf_counter()
        hits = self._engine.query(COLLECTION, Query((Part(item=key_of(number)),), 1)).hits
        if [hit.key for hit in hits] != [key_of(number)]:
            raise RuntimeError(f"the item {key_of(number)} was acknowledged but is not found")
        self.visibility_seconds.append(time.perf_counter() - acknowledged)
        self.written += BATCH_SIZE

    def stop(self) -> None:
        """Stop and join the thread; raise its exception if it failed."""
        self._stopped.set()
        self.join()
        if self._failure is not None:
            raise self._failure


def measure_while_inserting(
    engine: SearchEngine, database: Database, gallery: Gallery, seconds: float, rate: int, queries: int
) -> dict[str, dict[str, Any]]:
    """Latencies of one querying thread: idle, during inserts, and during inserts and the writing of a snapshot."""
    search = engine_search(engine)
    report = {"idle": _measure_latencies(search, queries, seconds)}
    writer = Writer(engine, database, gallery, int(rate * (4 * seconds + 60)), rate)
    writer.start()
    report["inserting"] = _measure_latencies(search, queries, seconds) | _insert_rate(writer, seconds)
    with always_due_snapshots(gallery.size):
        snapshot = threading.Thread(target=engine.write_snapshots, args=(COLLECTION,))
        snapshot.start()
        before = writer.written, time.perf_counter()
        report["inserting, snapshot"] = _measure_latencies(search, queries, seconds, snapshot)
        report["inserting, snapshot"] |= _insert_rate(writer, time.perf_counter() - before[1], before[0])
        writer.stop()
        snapshot.join()
    return report


@contextmanager
def always_due_snapshots(size: int) -> Iterator[None]:
    """Make a snapshot due after every log entry; in a large collection it would not be due for minutes."""
    share = space_index.SNAPSHOT_SHARE
    space_index.SNAPSHOT_SHARE = size
    try:
        yield
    finally:
        space_index.SNAPSHOT_SHARE = share


def _measure_latencies(
    search: Search, queries: int, seconds: float, until: threading.Thread | None = None
) -> dict[str, Any]:
    """Latency quantiles of queries during `seconds`, and further until the thread ends."""
    latencies, start = list[float](), time.perf_counter()
    while time.perf_counter() - start < seconds or (until is not None and until.is_alive()):
        query_start = time.perf_counter()
        search(len(latencies) % queries)
        latencies.append(1000 * (time.perf_counter() - query_start))
    return {f"p{share}_ms": round(float(np.percentile(latencies, share)), 3) for share in (50, 99)} | {
        "max_ms": round(max(latencies), 3)
    }


def _insert_rate(writer: Writer, seconds: float, before: int = 0) -> dict[str, Any]:
    since = before // BATCH_SIZE
    return {
        "items_per_second": round((writer.written - before) / seconds, 1),
        "found_after_s_max": round(max(writer.visibility_seconds[since:], default=0.0), 3),
    }


def measure_restarts(home: Path, kind: str) -> dict[str, dict[str, float]]:
    """First answers of new processes, without and with the files in the page cache."""
    call_in_process(evict_page_cache, home)
    names = ("files not in memory", "files in memory")
    return {name: call_in_process(measure_first_answer, home, kind) for name in names}


def evict_page_cache(home: Path) -> None:
    """Drop the files from the page cache, so that they are read from the disk again.

    The process must have none of them open: closing a file releases the locks of SQLite on it.
    """
    for path in home.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def measure_first_answer(home: Path, kind: str) -> dict[str, float]:
    """Open the catalogue and answer one query; return seconds, without imports, and MiB of this new process."""
    settings, database = open_catalogue(home, kind)
    with database.read() as session:
        dimension = collections.get(session, COLLECTION).spaces[SPACE].dimension
    query = np.full((1, dimension), dimension**-0.5, np.float32)
    started = time.perf_counter(), time.process_time()
    engine_search(SearchEngine(database, settings, LookupEmbedder(query, dimension)))(0)
    spent = {"seconds": time.perf_counter() - started[0], "cpu_seconds": time.process_time() - started[1]}
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in status if line.startswith(("VmRSS", "Rss"))}
    database.close()
    memory = {"resident_mb": fields["VmRSS"], "anonymous_mb": fields["RssAnon"], "mapped_mb": fields["RssFile"]}
    return {name: round(value, 3) for name, value in spent.items()} | memory
