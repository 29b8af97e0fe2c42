"""Speed and recall of the engine compared with raw FAISS on the same index in one process: docs/indexes.md.

    python -m benchmarks.search [--vectors 20000] [--folder DIR] [--bulk] [--json] [--dimension 768] [--kind auto]
                                [--queries 200] [--seconds 10] [--clients 1,8,32]

Vectors lie in clusters of about 200. They are written to a catalogue and indexed as a service does it; `--folder`
keeps both: an interrupted run is resumed, and a repeated one only measures. `--bulk` writes the same rows of the
catalogue directly, in half the time. A million of 768 numbers take 13 GB of disk and 8 GB of memory.

All searches take turns, query by query, so that other load of the machine falls on all alike. Besides wall time, the
processor time of the querying thread is reported, which other load hardly changes.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.tree import Filter
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.types import IdArray
from benchmarks.reporting import call_in_process, comma_separated_ints, machine, option_parser, record_table
from benchmarks.search import living, measures
from benchmarks.search.gallery import (
    BUCKETS,
    COLLECTION,
    Gallery,
    LookupEmbedder,
    bucket_of,
    build_collection,
    open_catalogue,
    read_record,
    remove_later_items,
)
from benchmarks.search.service import measure_http, running_service

SHARES = (500, 100, 10, 1)  # of a thousand
INSERTED_A_SECOND = 500


def main() -> None:
    """Read the options, build the collection, measure and print."""
    arguments = _parse_options()
    if arguments.folder is not None:
        report = _measure(arguments.folder, arguments)
    else:
        with tempfile.TemporaryDirectory() as home:
            report = _measure(Path(home), arguments)
    print(json.dumps(report, default=str) if arguments.json else as_tables(report))


def _measure(home: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Build and measure; work whose memory would disturb later measurements runs in processes of its own."""
    gallery = Gallery(arguments.vectors, arguments.dimension)
    call_in_process(build_collection, home, gallery, arguments.kind, arguments.bulk)
    report: dict[str, Any] = {"machine": machine() | {"faiss": faiss.__version__}, "made": read_record(home)}
    report["restart"] = living.measure_restarts(home, arguments.kind)
    settings, database = open_catalogue(home, arguments.kind)
    queries = gallery.queries(arguments.queries)
    engine = SearchEngine(database, settings, LookupEmbedder(queries, gallery.dimension))
    index = newest_index(database, LocalBackend(database, settings))
    report["index"] = str(index.state.kind)
    report["searches"] = compare_searches(engine, index, gallery, queries)
    with running_service(home, arguments.kind, gallery, arguments.queries) as port:
        report["http"] = [measure_http(port, clients, len(queries), arguments.seconds) for clients in arguments.clients]
    report["inserting"] = living.measure_while_inserting(
        engine, database, gallery, arguments.seconds, INSERTED_A_SECOND, len(queries)
    )
    report["machine"]["load_after"] = round(os.getloadavg()[0], 1)
    engine.close()
    remove_later_items(settings, database, gallery.size)
    database.close()
    return report


def compare_searches(engine: SearchEngine, index: FaissIndex, gallery: Gallery, queries: Any) -> dict[str, Any]:
    """Time raw FAISS, with its own selector for filters, the index behind its seam, and the engine."""
    shares = [share for share in SHARES if gallery.size * share >= BUCKETS * measures.K]
    expected = measures.exact_neighbours(gallery, queries, [BUCKETS, *shares])
    raw = measures.raw_faiss(index, queries)

    def searches(allowed: IdArray | None, where: Filter | None) -> dict[str, measures.Search]:
        return {
            "raw FAISS": raw(allowed),
            "index behind the seam": measures.index_search(index, queries, allowed),
            "engine": measures.engine_search(engine, where),
        }

    report: dict[str, Any] = {
        name: measures.measure_in_turns(searches(None, None), len(queries), expected[BUCKETS])
        for name in ("none", "none, items in memory")  # the first time, the engine reads the rows of the hits
    }
    buckets = np.array([bucket_of(number) for number in range(gallery.size)])
    for share in shares:
        filtered = searches(np.flatnonzero(buckets < share) + 1, measures.bucket_filter(share))
        start = time.perf_counter()
        filtered["engine"](0)
        first_ms = round(1000 * (time.perf_counter() - start), 1)
        rows = measures.measure_in_turns(filtered, len(queries), expected[share])
        rows["engine"]["first_ms"] = first_ms
        report[f"{100 * share / BUCKETS:g}%"] = rows
    return report


def newest_index(database: Database, backend: LocalBackend) -> FaissIndex:
    """The index of the newest snapshot, as another process opens it."""
    with database.read() as session:
        head = collections.head(session, COLLECTION)
    space = backend.open(head, head.spaces[0])
    space.refresh(head)
    with space.open_view() as view:
        index = getattr(view.count, "__self__", None)  # a view's functions are methods of its index
        assert isinstance(index, FaissIndex)
        return index


def _parse_options() -> argparse.Namespace:
    parser = option_parser("search", __doc__)
    parser.add_argument("--vectors", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--dimension", type=int, default=768, help="numbers of each (default 768)")
    parser.add_argument("--folder", type=Path, help="keep the collection here (default: a temporary folder)")
    parser.add_argument("--bulk", action="store_true", help="write the rows of the catalogue directly")
    parser.add_argument("--kind", default="auto", help="auto, flat, hnsw or ivf (default auto: by size)")
    parser.add_argument("--queries", type=int, default=200, help="timed one after another (default 200)")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each timed phase (default 10)")
    parser.add_argument(
        "--clients", type=comma_separated_ints, default=[1, 8, 32], help="at once over HTTP (default 1,8,32)"
    )
    return parser.parse_args()


def as_tables(report: Mapping[str, Any]) -> str:
    """The report as the tables of docs/indexes.md."""
    facts, made = report["machine"], report["made"]
    route = "written to the catalogue directly" if made["bulk"] else "written by the product"
    return "\n".join(
        [
            f"{made['vectors']:,} vectors of {made['dimension']}, {route}: filled in {made['seconds']['filling']:g} s, "
            f"index built and written in {made['seconds']['building']:g} s; index {report['index']}; "
            f"{facts['cores']} cores, load {facts['load']:g} to {facts['load_after']:g}, "
            f"FAISS {facts['faiss']}, {facts['date']}",
            "",
            record_table(search_rows(report["searches"])),
            "",
            record_table(report["http"]),
            "",
            record_table({"while": name, **row} for name, row in report["inserting"].items()),
            "",
            record_table({"restart": name, **row} for name, row in report["restart"].items()),
        ]
    )


def search_rows(searches: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterable[Mapping[str, Any]]:
    """Rows of all searches, each with its times relative to raw FAISS with the same filter."""
    for filter_name, rows in searches.items():
        first = next(iter(rows.values()))
        for name, row in rows.items():
            times = {"times_p50": _ratio(row, first, "p50_ms"), "times_cpu": _ratio(row, first, "cpu_p50_ms")}
            yield {"filter": filter_name, "searched by": name, **row, **times}


def _ratio(row: Mapping[str, float], first: Mapping[str, float], name: str) -> float:
    return round(row[name] / first[name], 2) if first[name] else 0.0


if __name__ == "__main__":
    main()
