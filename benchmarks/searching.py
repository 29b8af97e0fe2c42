"""The benchmark `benchmarks/search.py`: what it measures and prints."""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks import search_measures as measures
from benchmarks.search_gallery import (
    BUCKETS,
    COLLECTION,
    Gallery,
    GivenEmbedder,
    bucket_of,
    fill,
    make_gallery,
    open_catalogue,
)
from search.catalogue import collections
from search.catalogue.session import Database
from search.engine import SearchEngine
from search.index.faiss import FaissIndex
from search.opening import SpaceOpener
from search.space_index import SpaceIndex

SHARES = (500, 100, 10, 1)  # of a thousand
INSERTED_A_SECOND = 500


def main(description: str) -> None:
    """Read the arguments, measure and print."""
    arguments = _arguments(description)
    later = int(INSERTED_A_SECOND * arguments.seconds) + INSERTED_A_SECOND
    gallery = make_gallery(arguments.size, arguments.dimension, arguments.queries, later)
    with tempfile.TemporaryDirectory() as home:
        report = _machine() | vars(arguments) | _measured(Path(home), gallery, arguments)
    print(json.dumps(report) if arguments.json else _as_text(report))


def _measured(home: Path, gallery: Gallery, arguments: argparse.Namespace) -> dict[str, Any]:
    settings, database = open_catalogue(home, arguments.kind)
    embedder = GivenEmbedder(gallery.queries, arguments.dimension)
    seconds = {"filling": _seconds(lambda: fill(database, embedder, gallery.vectors))}
    engine = SearchEngine(database, settings, embedder)
    seconds["building"] = _seconds(lambda: engine.write_snapshots(COLLECTION))
    index = _index(engine, database, SpaceOpener(database, settings))
    report = {"index": str(index.state.kind), "seconds": seconds, **_searches(engine, index, gallery)}
    report["restart"] = measures.restart(home, arguments.kind)
    report["while_inserting"] = measures.while_inserting(
        engine, database, gallery, arguments.seconds, INSERTED_A_SECOND
    )
    engine.close()
    database.close()
    return report


def _searches(engine: SearchEngine, index: FaissIndex, gallery: Gallery) -> dict[str, Any]:
    """Without a filter by FAISS alone, behind the seam and by the engine; with filters by the last two."""
    count, expected = len(gallery.queries), measures.exact(gallery)
    told: dict[str, Any] = {
        "raw_faiss": measures.times(measures.raw_faiss(index, gallery), count, expected),
        "seam": measures.times(measures.by_seam(index, gallery.queries), count, expected),
        "engine": measures.times(measures.by_engine(engine), count, expected),
    }
    told["seam_to_raw_at_p50"] = round(told["seam"]["p50_ms"] / told["raw_faiss"]["p50_ms"], 2)
    buckets = np.array([bucket_of(number) for number in range(len(gallery.vectors))])
    for share in SHARES:
        allowed = np.flatnonzero(buckets < share)
        if len(allowed) < measures.K:
            continue
        expected, where = measures.exact(gallery, allowed), measures.allowing(share)
        told[f"filter_{100 * share / BUCKETS:g}%"] = {
            "seam": measures.times(measures.by_seam(index, gallery.queries, allowed + 1), count, expected),
            "engine": measures.times(measures.by_engine(engine, where), count, expected),
        }
    return told


def _index(engine: SearchEngine, database: Database, open_space: SpaceOpener) -> FaissIndex:
    """The index of the snapshot that the engine wrote, as another process has it."""
    with database.read() as session:
        head = collections.head(session, COLLECTION)
    space = open_space(head, head.spaces[0])
    space.refresh(head)
    assert isinstance(space, SpaceIndex)
    with space.reading() as view:
        assert isinstance(view.index, FaissIndex)
        return view.index


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 2)


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "faiss": faiss.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
    }


def _as_text(report: dict[str, Any]) -> str:
    return "\n".join(f"{name:22} {value}" for name, value in report.items())


def _arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--size", type=int, default=20_000, help="vectors (default 20000)")
    parser.add_argument("--dimension", type=int, default=768, help="numbers of each (default 768)")
    parser.add_argument("--kind", default="auto", help="auto, flat, hnsw or ivf (default auto: by size)")
    parser.add_argument("--queries", type=int, default=300, help="timed one after another (default 300)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of searching while items are put (default 10)")
    return parser.parse_args()
