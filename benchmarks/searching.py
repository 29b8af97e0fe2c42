"""The benchmark `benchmarks/search.py`: what it measures and prints."""

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks import search_living as living
from benchmarks import search_measures as measures
from benchmarks.search_gallery import (
    BUCKETS,
    COLLECTION,
    Gallery,
    GivenEmbedder,
    bucket_of,
    made,
    make,
    open_catalogue,
    take_back,
)
from benchmarks.search_service import over_http, served
from benchmarks.search_tables import as_tables
from search.catalogue import collections
from search.catalogue.session import Database
from search.engine import SearchEngine
from search.index.faiss import FaissIndex
from search.opening import SpaceOpener
from search.space_index import SpaceIndex

SHARES = (500, 100, 10, 1)  # of a thousand
INSERTED_A_SECOND = 500


def main(description: str) -> None:
    """Read the arguments, make what is to be searched, measure and print."""
    arguments = _arguments(description)
    if arguments.folder is not None:
        report = _report(arguments.folder, arguments)
    else:
        with tempfile.TemporaryDirectory() as home:
            report = _report(Path(home), arguments)
    print(json.dumps(report, default=str) if arguments.json else as_tables(report))


def _report(home: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Whatever takes memory of its own is done in a process of its own."""
    gallery = Gallery(arguments.vectors, arguments.dimension)
    _apart(make, home, gallery, arguments.kind, arguments.bulk)
    report: dict[str, Any] = {"machine": _machine(), "made": made(home)}
    _apart(living.forget_pages, home)
    report["restart"] = {
        "files not in memory": _apart(living.answer_once, home, arguments.kind),
        "files in memory": _apart(living.answer_once, home, arguments.kind),
    }
    settings, database = open_catalogue(home, arguments.kind)
    queries = gallery.queries(arguments.queries)
    engine = SearchEngine(database, settings, GivenEmbedder(queries, gallery.dimension))
    index = index_of(database, SpaceOpener(database, settings))
    report["index"] = str(index.state.kind)
    report["searches"] = searches(engine, index, gallery, queries)
    with served(home, arguments.kind, gallery, arguments.queries) as port:
        report["http"] = [over_http(port, clients, len(queries), arguments.seconds) for clients in arguments.clients]
    report["inserting"] = living.while_inserting(
        engine, database, gallery, arguments.seconds, INSERTED_A_SECOND, len(queries)
    )
    report["machine"]["load_after"] = round(os.getloadavg()[0], 1)
    engine.close()
    take_back(settings, database, gallery.size)
    database.close()
    return report


def searches(engine: SearchEngine, index: FaissIndex, gallery: Gallery, queries: Any) -> dict[str, Any]:
    """Without a filter by FAISS alone, behind the seam and by the engine; with filters by the last two."""
    shares = [share for share in SHARES if gallery.size * share >= BUCKETS * measures.K]
    expected = measures.exact(gallery, queries, [BUCKETS, *shares])
    told: dict[str, Any] = {
        "none": measures.in_turns(
            {
                "raw FAISS": measures.raw_faiss(index, queries),
                "index behind the seam": measures.by_seam(index, queries),
                "engine": measures.by_engine(engine),
            },
            len(queries),
            expected[BUCKETS],
        )
    }
    buckets = np.array([bucket_of(number) for number in range(gallery.size)])
    for share in shares:
        allowed, where = np.flatnonzero(buckets < share) + 1, measures.allowing(share)
        first = time.perf_counter()
        measures.by_engine(engine, where)(0)
        first_ms = round(1000 * (time.perf_counter() - first), 1)
        compared = {
            "index behind the seam": measures.by_seam(index, queries, allowed),
            "engine": measures.by_engine(engine, where),
        }
        told[f"{100 * share / BUCKETS:g}%"] = measures.in_turns(compared, len(queries), expected[share])
        told[f"{100 * share / BUCKETS:g}%"]["engine"]["first_ms"] = first_ms
    return told


def index_of(database: Database, open_space: SpaceOpener) -> FaissIndex:
    """The index of the newest snapshot, as another process has it."""
    with database.read() as session:
        head = collections.head(session, COLLECTION)
    space = open_space(head, head.spaces[0])
    space.refresh(head)
    assert isinstance(space, SpaceIndex)
    with space.reading() as view:
        assert isinstance(view.index, FaissIndex)
        return view.index


def _apart(work: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "faiss": faiss.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
    }


def _arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--vectors", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--dimension", type=int, default=768, help="numbers of each (default 768)")
    parser.add_argument(
        "--folder", type=Path, help="keeps the collection, for the next time (default: a temporary one)"
    )
    parser.add_argument("--bulk", action="store_true", help="write the rows of the catalogue directly")
    parser.add_argument("--kind", default="auto", help="auto, flat, hnsw or ivf (default auto: by size)")
    parser.add_argument("--queries", type=int, default=200, help="timed one after another (default 200)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measure over a time (default 10)")
    parser.add_argument("--clients", type=_numbers, default=[1, 8, 32], help="at once over HTTP (default 1,8,32)")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
