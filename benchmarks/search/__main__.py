"""How fast and how well the engine searches, against raw FAISS with the same index in one process: docs/indexes.md.

    python -m benchmarks.search [--vectors 20000] [--folder DIR] [--bulk] [--json] [--dimension 768] [--kind auto]
                                [--queries 200] [--seconds 10] [--clients 1,8,32]

Vectors lie in clusters of about 200. They are written to a catalogue and indexed as a service would do it; `--folder`
keeps both, goes on with what was left half-made there, and a repeat only measures. `--bulk` writes the same rows of the
catalogue directly, in half the time. A million of 768 numbers take 13 GB of disk and 8 GB of memory.

All that is compared is measured in turns, query by query, so noise of the machine falls on all of it. Beside the time
of the clock there is that of the processor in the querying thread, which other work on the machine hardly moves.
"""

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.spaces.local.faiss import FaissIndex
from benchmarks.search import living, measures
from benchmarks.search.gallery import (
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
from benchmarks.search.service import over_http, served

SHARES = (500, 100, 10, 1)  # of a thousand
INSERTED_A_SECOND = 500


def main() -> None:
    """Read the arguments, make what is to be searched, measure and print."""
    arguments = _arguments()
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
    index = index_of(database, LocalBackend(database, settings))
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
    """By FAISS alone, with its own selector where there is a filter, behind the seam and by the engine."""
    shares = [share for share in SHARES if gallery.size * share >= BUCKETS * measures.K]
    expected = measures.exact(gallery, queries, [BUCKETS, *shares])
    raw = measures.raw_faiss(index, queries)
    compared = {
        "raw FAISS": raw(None),
        "index behind the seam": measures.by_seam(index, queries),
        "engine": measures.by_engine(engine),
    }
    told: dict[str, Any] = {
        asked: measures.in_turns(compared, len(queries), expected[BUCKETS])
        for asked in ("none", "none, items in memory")  # the first time, the engine reads the rows of the hits
    }
    buckets = np.array([bucket_of(number) for number in range(gallery.size)])
    for share in shares:
        allowed, where = np.flatnonzero(buckets < share) + 1, measures.allowing(share)
        first = time.perf_counter()
        measures.by_engine(engine, where)(0)
        first_ms = round(1000 * (time.perf_counter() - first), 1)
        filtered = {
            "raw FAISS": raw(allowed),
            "index behind the seam": measures.by_seam(index, queries, allowed),
            "engine": measures.by_engine(engine, where),
        }
        told[f"{100 * share / BUCKETS:g}%"] = measures.in_turns(filtered, len(queries), expected[share])
        told[f"{100 * share / BUCKETS:g}%"]["engine"]["first_ms"] = first_ms
    return told


def index_of(database: Database, backend: LocalBackend) -> FaissIndex:
    """The index of the newest snapshot, as another process has it."""
    with database.read() as session:
        head = collections.head(session, COLLECTION)
    space = backend.open(head, head.spaces[0])
    space.refresh(head)
    with space.open_view() as view:
        index = getattr(view.count, "__self__", None)  # a view's functions are methods of its index
        assert isinstance(index, FaissIndex)
        return index


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m {__package__}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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


def as_tables(report: Mapping[str, Any]) -> str:
    """What a person reads, and what docs/indexes.md shows; `--json` has the same numbers."""
    machine, made = report["machine"], report["made"]
    route = "written to the catalogue directly" if made["bulk"] else "written by the product"
    return "\n".join(
        [
            f"{made['vectors']:,} vectors of {made['dimension']}, {route}: filled in {made['seconds']['filling']:g} s, "
            f"index built and written in {made['seconds']['building']:g} s; index {report['index']}; "
            f"{machine['cores']} cores, load {machine['load']:g} to {machine['load_after']:g}, "
            f"FAISS {machine['faiss']}, {machine['date']}",
            "",
            *table(search_rows(report["searches"])),
            "",
            *table(report["http"]),
            "",
            *table({"while": name, **row} for name, row in report["inserting"].items()),
            "",
            *table({"restart": name, **row} for name, row in report["restart"].items()),
        ]
    )


def search_rows(searches: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterable[Mapping[str, Any]]:
    """Each with what it takes of the first of its filter, raw FAISS."""
    for filtered, rows in searches.items():
        first = next(iter(rows.values()))
        for name, row in rows.items():
            times = {"times_p50": _ratio(row, first, "p50_ms"), "times_cpu": _ratio(row, first, "cpu_p50_ms")}
            yield {"filter": filtered, "searched by": name, **row, **times}


def _ratio(row: Mapping[str, float], first: Mapping[str, float], name: str) -> float:
    return round(row[name] / first[name], 2) if first[name] else 0.0


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A column for each name in any row, in the order in which they come; a dash where a row has none."""
    held = list(rows)
    names = list(dict.fromkeys(name for row in held for name in row))
    return [
        _line([name.replace("_", " ") for name in names]),
        _line(["---"] * len(names)),
        *(_line([str(row.get(name, "-")) for name in names]) for row in held),
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
