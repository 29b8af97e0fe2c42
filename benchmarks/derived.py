"""What comparing facets and words with their items costs, which a process does before its first filter or by itself.

    python -m benchmarks.derived [--items 10000]

The items have eleven facets and about twenty words each. A comparison's seconds are the processor's, without rests.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Sample
from anyseek.search.catalogue import collections, derived, items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.settings import Settings
from anyseek.search.types import NewItem, Part, Query, Words

_BATCH = 1_000


def measured(count: int) -> dict[str, float]:
    """Milliseconds by what was done, with `count` items in one collection."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder))
        with closing(Database(settings.database_url)) as database:
            upgrade(database)
            fill(database, count)
            return dict(steps(database, settings))


def fill(database: Database, count: int) -> None:
    embedder = HashingEmbedder()
    vectors = {name: found[0] for name, found in embedder.embed([Sample({"caption": "a"})], [*embedder.spaces]).items()}
    with database.write() as session:
        made = collections.create(session, "c", embedder.name, embedder.spaces.values())
    for first in range(0, count, _BATCH):
        new = [
            NewItem(
                f"2021/{number:07}.jpg", f"{number}", vectors, f"a red thing on a table, number {number}", said(number)
            )
            for number in range(first, min(count, first + _BATCH))
        ]
        with database.write() as session:
            items.write(session, made, new)


def said(number: int) -> dict[str, object]:
    """What a photo's file says."""
    return {
        "width": 4000 - number % 1000,
        "height": 3000,
        "taken": f"2021-03-{number % 28 + 1:02}T10:{number % 60:02}:00",
        "camera": {"make": "Canon", "model": f"EOS {number % 20}"},
        "keywords": ["beach", "sun", f"word{number % 100}"],
        "place": {"lat": number * 0.001 % 90, "lon": number * 0.002 % 180, "town": f"town {number % 300}"},
    }


def steps(database: Database, settings: Settings) -> Iterator[tuple[str, float]]:
    for kind in (derived.FACETS, derived.WORDS):
        yield (
            f"compare {kind.name}, processor",
            _milliseconds(time.process_time, partial(derived.survey, database, kind)),
        )
    queries = {
        "filter": Query((Part("caption", "a thing"),), where=filter_from_text("width >= 3999")),
        "words": Query((), words=(Words("town 7"),)),
    }
    for name, query in queries.items():
        engine = SearchEngine(database, settings, HashingEmbedder())
        engine.query("c", Query((Part("caption", "a thing"),)))
        for which in ("first", "second"):
            yield f"{which} query by {name}", _milliseconds(time.perf_counter, partial(engine.query, "c", query))


def _milliseconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    started = clock()
    work()
    return 1000 * (clock() - started)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.derived", description="Time comparisons of facets.")
    parser.add_argument("--items", type=int, default=10_000, help="how many items")
    count = parser.parse_args(arguments).items
    print(f"| {count:,} items | milliseconds |\n|---|---|")
    for name, taken in measured(count).items():
        print(f"| {name} | {taken:,.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
