"""Measure searches while items are put and a snapshot is written, and the start of a service."""

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
from benchmarks.search.gallery import COLLECTION, SPACE, Gallery, GivenEmbedder, key_of, open_catalogue, put
from benchmarks.search.measures import Search, by_engine

BATCH_PUT = 50


class Writer(threading.Thread):
    """Puts items at a rate until it is told to stop, and asks for one of each batch as soon as it is acknowledged."""

    def __init__(self, engine: SearchEngine, database: Database, gallery: Gallery, most: int, rate: int) -> None:
        super().__init__()
        self._engine, self._database, self._rate = engine, database, rate
        self._first, self._vectors = gallery.size, gallery.later(most)
        self._stopped = threading.Event()
        self.put = 0
        self.found_after: list[float] = []
        self._failure: Exception | None = None

    def run(self) -> None:
        try:
            self.put_all()
        except (AnyseekError, SQLAlchemyError, OSError, RuntimeError) as error:
            self._failure = error  # for whoever stops this thread

    def put_all(self) -> None:
        """Until all are put or it is told to stop; also without a thread."""
        due = time.perf_counter()
        while self.put < len(self._vectors) and not self._stopped.is_set():
            self._put_some()
            due += BATCH_PUT / self._rate
            self._stopped.wait(max(0.0, due - time.perf_counter()))

    def _put_some(self) -> None:
        number = self._first + self.put
        put(self._database, self._vectors[self.put : self.put + BATCH_PUT], number)
        acknowledged = time.perf_counter()
        hits = self._engine.query(COLLECTION, Query((Part(item=key_of(number)),), 1)).hits
        if [hit.key for hit in hits] != [key_of(number)]:
            raise RuntimeError(f"the item {key_of(number)} was acknowledged and is not found")
        self.found_after.append(time.perf_counter() - acknowledged)
        self.put += BATCH_PUT

    def stop(self) -> None:
        """Raises what went wrong in the thread."""
        self._stopped.set()
        self.join()
        if self._failure is not None:
            raise self._failure


def while_inserting(
    engine: SearchEngine, database: Database, gallery: Gallery, seconds: float, rate: int, queries: int
) -> dict[str, dict[str, Any]]:
    """Queries of one thread: alone, while items are put, and while moreover a snapshot is written."""
    search, told = by_engine(engine), {"idle": _timed(by_engine(engine), queries, seconds)}
    writer = Writer(engine, database, gallery, int(rate * (4 * seconds + 60)), rate)
    writer.start()
    told["inserting"] = _timed(search, queries, seconds) | _rate(writer, seconds)
    with due_at_every_entry(gallery.size):
        snapshot = threading.Thread(target=engine.write_snapshots, args=(COLLECTION,))
        snapshot.start()
        before = writer.put, time.perf_counter()
        told["inserting, snapshot"] = _timed(search, queries, seconds, snapshot)
        told["inserting, snapshot"] |= _rate(writer, time.perf_counter() - before[1], before[0])
        writer.stop()
        snapshot.join()
    return told


@contextmanager
def due_at_every_entry(size: int) -> Iterator[None]:
    """Snapshots are; that of a large collection would not be due for minutes."""
    share = space_index.SNAPSHOT_SHARE
    space_index.SNAPSHOT_SHARE = size
    try:
        yield
    finally:
        space_index.SNAPSHOT_SHARE = share


def _timed(search: Search, queries: int, seconds: float, until: threading.Thread | None = None) -> dict[str, Any]:
    """For so many seconds, and on until a thread has ended."""
    taken, began = [], time.perf_counter()
    while time.perf_counter() - began < seconds or (until is not None and until.is_alive()):
        started = time.perf_counter()
        search(len(taken) % queries)
        taken.append(1000 * (time.perf_counter() - started))
    return {f"p{share}_ms": round(float(np.percentile(taken, share)), 3) for share in (50, 99)} | {
        "max_ms": round(max(taken), 3)
    }


def _rate(writer: Writer, seconds: float, before: int = 0) -> dict[str, Any]:
    since = before // BATCH_PUT
    return {
        "items_per_second": round((writer.put - before) / seconds, 1),
        "found_after_s_max": round(max(writer.found_after[since:], default=0.0), 3),
    }


def forget_pages(home: Path) -> None:
    """Have the system read the files from the disk again.

    Only in a process that has none of them open: closing a file lets go of the locks that SQLite has on it there.
    """
    for path in home.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def answer_once(home: Path, kind: str) -> dict[str, float]:
    """Open the catalogue and answer one query, in a process that has done nothing yet; imports are not in the time."""
    settings, database = open_catalogue(home, kind)
    with database.read() as session:
        dimension = collections.get(session, COLLECTION).spaces[SPACE].dimension
    query = np.full((1, dimension), dimension**-0.5, np.float32)
    started = time.perf_counter(), time.process_time()
    by_engine(SearchEngine(database, settings, GivenEmbedder(query, dimension)))(0)
    spent = {"seconds": time.perf_counter() - started[0], "cpu_seconds": time.process_time() - started[1]}
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    held = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in status if line.startswith(("VmRSS", "Rss"))}
    database.close()
    memory = {"resident_mb": held["VmRSS"], "anonymous_mb": held["RssAnon"], "mapped_mb": held["RssFile"]}
    return {name: round(value, 3) for name, value in spent.items()} | memory
