"""Speed and recall behind filters of the pgvector backend, without and with its graph: docs/indexes.md.

    python -m benchmarks.search.pgvector --url postgresql+psycopg://… [--vectors 20000] [--dimension 768] [--json]
                                         [--folder DIR] [--queries 200] [--exact-up-to 10000]

The collection is that of `benchmarks.search`, in a folder or a temporary one; its vectors are copied to the database.
With a small `--exact-up-to` the graph also answers behind filters that few items pass.
"""

import argparse
import json
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from anyseek.search.catalogue import collections
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Index, Pgvector
from anyseek.search.spaces.pgvector import backend as pgvector
from anyseek.search.spaces.pgvector.backend import PgvectorBackend, open_engine
from benchmarks.reporting import call_in_process, machine, option_parser, record_table
from benchmarks.search import measures
from benchmarks.search.__main__ import SHARES
from benchmarks.search.gallery import BUCKETS, COLLECTION, Gallery, LookupEmbedder, build_collection, open_catalogue


def main() -> None:
    """Read the options, fill the database, measure and print."""
    arguments = _parse_options()
    pgvector.EXACT_UP_TO = arguments.exact_up_to
    with tempfile.TemporaryDirectory() as temporary:
        report = _measure(arguments.folder or Path(temporary), arguments)
    print(json.dumps(report, default=str) if arguments.json else _as_tables(report))


def _measure(home: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    gallery = Gallery(arguments.vectors, arguments.dimension)
    call_in_process(build_collection, home, gallery, "auto", True)
    settings, database = open_catalogue(home, "auto")
    settings = replace(settings, index=Index("pgvector"), pgvector=Pgvector(arguments.url))
    queries = gallery.queries(arguments.queries)
    embedder = LookupEmbedder(queries, gallery.dimension)
    with closing(database), closing(SearchEngine(database, settings, embedder)) as engine:
        with closing(PgvectorBackend(database, settings)) as backend, database.read() as session:
            head = collections.head(session, COLLECTION)
            space = backend.open(head, head.spaces[0])
        seconds = {}
        for name, step in (("copying", lambda: space.refresh(head)), ("graph", lambda: space.maintain(head, 1))):
            start = time.perf_counter()
            step()
            seconds[name] = round(time.perf_counter() - start, 1)
        searches = _searches(engine, gallery, queries)
    return {
        "machine": machine() | {"pgvector": PgvectorBackend.check(settings)},
        "vectors": gallery.size,
        "dimension": gallery.dimension,
        "exact_up_to": arguments.exact_up_to,
        "seconds": seconds,
        "bytes": _bytes(arguments.url),
        "searches": searches,
    }


def _searches(engine: SearchEngine, gallery: Gallery, queries: Any) -> dict[str, Any]:
    """Times and recall of queries without a filter, and behind filters that a share of items passes."""
    shares = [BUCKETS, *(share for share in SHARES if gallery.size * share >= BUCKETS * measures.K)]
    expected = measures.exact_neighbours(gallery, queries, shares)
    report = {}
    for share in shares:
        where = None if share == BUCKETS else measures.bucket_filter(share)
        search = {"engine": measures.engine_search(engine, where)}
        report[f"{100 * share / BUCKETS:g}%"] = measures.measure_in_turns(search, len(queries), expected[share])[
            "engine"
        ]
    return report


def _bytes(url: str) -> dict[str, int]:
    """Sizes of all tables of vectors and of their graphs."""
    engine = open_engine(url)
    with engine.connect() as connection:
        sizes = connection.execute(
            text(
                "SELECT relname LIKE '%_graph', sum(pg_relation_size(pg_class.oid))::bigint FROM pg_class "
                f"WHERE relnamespace = '{pgvector.SCHEMA}'::regnamespace GROUP BY 1"
            )
        )
        report = {"graphs" if is_graph else "tables": size for is_graph, size in sizes}
    engine.dispose()
    return report


def _parse_options() -> argparse.Namespace:
    parser = option_parser("search.pgvector", __doc__)
    parser.add_argument("--url", required=True, help="a PostgreSQL database with pgvector")
    parser.add_argument("--vectors", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--dimension", type=int, default=768, help="numbers of each (default 768)")
    parser.add_argument("--folder", type=Path, help="keep the collection here (default: a temporary folder)")
    parser.add_argument("--queries", type=int, default=200, help="timed one after another (default 200)")
    parser.add_argument(
        "--exact-up-to", type=int, default=pgvector.EXACT_UP_TO, help="vectors compared without the graph"
    )
    return parser.parse_args()


def _as_tables(report: dict[str, Any]) -> str:
    rows = [{"passes the filter": name, **row} for name, row in report["searches"].items()]
    return f"{json.dumps({name: report[name] for name in report if name != 'searches'})}\n\n{record_table(rows)}"


if __name__ == "__main__":
    main()
