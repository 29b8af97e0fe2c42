"""Build a collection of many vectors, open it, search it, put items into it, and write its snapshot again."""

import inspect
import json
import multiprocessing
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
from benchmarks.scale.processes import peak_mb
from benchmarks.search import living
from benchmarks.search.__main__ import index_of, searches
from benchmarks.search.gallery import COLLECTION, Gallery, GivenEmbedder, made, make, open_catalogue, take_back

KIND = "ivf"
_BUILT = "built.json"
# What building an index is made of, and the function that does it.
STAGES: Mapping[str, tuple[Any, str]] = {
    "log read": (LocalSpace, "_fill_from_log"),
    "lists trained": (Ivf, "trained"),
    "vectors added": (faiss_index, "_add_rows"),
    "snapshot written": (snapshots, "save"),
    "log compacted": (log, "compact"),
}


def measure(home: Path, gallery: Gallery, queries: int, inserted: int, bulk: bool) -> dict[str, Any]:
    """What a collection of the gallery's vectors takes; `home` keeps it, and a repeat only measures.

    Building and opening are done in processes of their own, so that each tells its own memory.
    """
    _apart(_build, home, gallery, bulk)
    told: dict[str, Any] = {"made": made(home), "building": json.loads((home / _BUILT).read_text())}
    told["bytes"] = _sizes(home)
    _apart(living.forget_pages, home)
    told["restart"] = {
        "files not in memory": _apart(living.answer_once, home, KIND),
        "files in memory": _apart(living.answer_once, home, KIND),
    }
    told["searches"] = _apart(_search, home, gallery, queries)
    told["inserting"] = _apart(_insert, home, gallery, inserted)
    return told


def _build(home: Path, gallery: Gallery, bulk: bool) -> None:
    """`built.json` then has the seconds of each stage, for a repeat too."""
    with timed() as seconds:
        make(home, gallery, KIND, bulk)
    if not (home / _BUILT).exists():
        rounded = {stage: round(spent, 3) for stage, spent in seconds.items()}
        (home / _BUILT).write_text(json.dumps({"seconds": rounded, "peak_mb": round(peak_mb())}))


def _search(home: Path, gallery: Gallery, count: int) -> dict[str, Any]:
    """Raw FAISS has a copy of all vectors, so `peak_mb` is about twice what a service has mapped."""
    settings, database = open_catalogue(home, KIND)
    queries = gallery.queries(count)
    engine = SearchEngine(database, settings, GivenEmbedder(queries, gallery.dimension))
    rows = searches(engine, index_of(database, LocalBackend(database, settings)), gallery, queries)
    engine.close()
    database.close()
    return {"rows": rows, "peak_mb": round(peak_mb())}


def _insert(home: Path, gallery: Gallery, count: int) -> dict[str, Any]:
    """Put items as fast as they can be put, each batch found before the next, and write a snapshot with them."""
    settings, database = open_catalogue(home, KIND)
    engine = SearchEngine(database, settings, GivenEmbedder(gallery.queries(1), gallery.dimension))
    engine.counts(COLLECTION)  # opens the index
    try:
        writer = living.Writer(engine, database, gallery, count, rate=10**9)
        began = time.perf_counter()
        writer.put_all()
        told: dict[str, Any] = {
            "items": writer.put,
            "items_a_second": round(writer.put / (time.perf_counter() - began)),
        }
        told["found_after_ms_most"] = round(1_000 * max(writer.found_after), 1)
        with living.due_at_every_entry(gallery.size), timed() as seconds:
            began = time.perf_counter()
            engine.write_snapshots(COLLECTION)
        told["snapshot_seconds"] = round(time.perf_counter() - began, 2)
        told["snapshot_stages"] = {stage: round(spent, 3) for stage, spent in seconds.items() if spent}
        return told | {"peak_mb": round(peak_mb())}
    finally:
        engine.close()
        take_back(settings, database, gallery.size)
        database.close()


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Gives the seconds spent in each of `STAGES` inside the block, up to now."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def timing(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                seconds[stage] += time.perf_counter() - began

        return run

    with ExitStack() as stack:
        for stage, (holder, name) in STAGES.items():
            run = timing(stage, getattr(holder, name))
            is_of_class = isinstance(inspect.getattr_static(holder, name), classmethod)  # then it is bound already
            stack.enter_context(mock.patch.object(holder, name, staticmethod(run) if is_of_class else run))
        yield seconds


def _sizes(home: Path) -> dict[str, int]:
    catalogue = sum(path.stat().st_size for path in home.glob("catalogue.sqlite*"))
    index = sum(path.stat().st_size for path in (home / "indexes").rglob("*") if path.is_file())
    return {"catalogue": catalogue, "index": index}


def _apart(work: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)
