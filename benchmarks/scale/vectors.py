"""Building, opening and searching a collection of many vectors, inserting into it, and writing its snapshot again."""

import inspect
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from anyseek.search.catalogue import log
from anyseek.search.engine import SearchEngine
from anyseek.search.spaces.local import faiss as faiss_index
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.spaces.local.candidates import Ivf
from anyseek.search.spaces.local.space import LocalSpace
from benchmarks.reporting import call_in_process
from benchmarks.scale.measuring import bytes_below, catalogue_bytes
from benchmarks.scale.processes import peak_mb
from benchmarks.search import living
from benchmarks.search.__main__ import compare_searches, newest_index
from benchmarks.search.gallery import (
    COLLECTION,
    Gallery,
    LookupEmbedder,
    build_collection,
    open_catalogue,
    read_record,
    remove_later_items,
)

KIND = "ivf"
_BUILT = "built.json"
# Stages of building an index, and the function of each.
STAGES: Mapping[str, tuple[Any, str]] = {
    "log read": (LocalSpace, "_fill_from_log"),
    "lists trained": (Ivf, "trained"),
    "vectors added": (faiss_index, "_add_rows"),
    "snapshot written": (snapshots, "save"),
    "log compacted": (log, "compact"),
}


def measure(home: Path, gallery: Gallery, queries: int, inserted: int, bulk: bool) -> dict[str, Any]:
    """Build a collection of the gallery's vectors in `home`, unless it is there already, and measure it.

    Building and opening run in processes of their own, so that each reports its own memory.
    """
    call_in_process(_build, home, gallery, bulk)
    report: dict[str, Any] = {"made": read_record(home), "building": json.loads((home / _BUILT).read_text())}
    report["bytes"] = _sizes(home)
    report["restart"] = living.measure_restarts(home, KIND)
    report["searches"] = call_in_process(_search, home, gallery, queries)
    report["inserting"] = call_in_process(_insert, home, gallery, inserted)
    return report


def _build(home: Path, gallery: Gallery, bulk: bool) -> None:
    """Build the collection and record the seconds of each stage in `built.json`, which a repeated run reads."""
    with time_stages() as seconds:
        build_collection(home, gallery, KIND, bulk)
    if not (home / _BUILT).exists():
        rounded = {stage: round(spent, 3) for stage, spent in seconds.items()}
        (home / _BUILT).write_text(json.dumps({"seconds": rounded, "peak_mb": round(peak_mb())}))


def _search(home: Path, gallery: Gallery, count: int) -> dict[str, Any]:
    """Compare searches. Raw FAISS copies all vectors, so `peak_mb` is about twice what a service maps."""
    settings, database = open_catalogue(home, KIND)
    queries = gallery.queries(count)
    engine = SearchEngine(database, settings, LookupEmbedder(queries, gallery.dimension))
    rows = compare_searches(engine, newest_index(database, LocalBackend(database, settings)), gallery, queries)
    engine.close()
    database.close()
    return {"rows": rows, "peak_mb": round(peak_mb())}


def _insert(home: Path, gallery: Gallery, count: int) -> dict[str, Any]:
    """Put items without pauses, each batch found before the next, and write a snapshot with them."""
    settings, database = open_catalogue(home, KIND)
    engine = SearchEngine(database, settings, LookupEmbedder(gallery.queries(1), gallery.dimension))
    engine.counts(COLLECTION)  # opens the index
    try:
        writer = living.Writer(engine, database, gallery, count, rate=10**9)
        start = time.perf_counter()
        writer.put_all()
        rate = round(writer.written / (time.perf_counter() - start))
        report: dict[str, Any] = {"items": writer.written, "items_a_second": rate}
        report["found_after_ms_most"] = round(1_000 * max(writer.visibility_seconds), 1)
        with living.always_due_snapshots(gallery.size), time_stages() as seconds:
            start = time.perf_counter()
            engine.write_snapshots(COLLECTION)
        report["snapshot_seconds"] = round(time.perf_counter() - start, 2)
        report["snapshot_stages"] = {stage: round(spent, 3) for stage, spent in seconds.items() if spent}
        return report | {"peak_mb": round(peak_mb())}
    finally:
        engine.close()
        remove_later_items(settings, database, gallery.size)
        database.close()


@contextmanager
def time_stages() -> Iterator[dict[str, float]]:
    """Yield the seconds spent so far in each of `STAGES` inside the block."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                seconds[stage] += time.perf_counter() - start

        return run

    with ExitStack() as stack:
        for stage, (holder, name) in STAGES.items():
            run = timed(stage, getattr(holder, name))
            is_bound = isinstance(inspect.getattr_static(holder, name), classmethod)
            stack.enter_context(mock.patch.object(holder, name, staticmethod(run) if is_bound else run))
        yield seconds


def _sizes(home: Path) -> dict[str, int]:
    return {"catalogue": catalogue_bytes(home), "index": bytes_below(home / "indexes")}
