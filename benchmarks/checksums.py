"""What the checksums of rows cost: writing items, querying and verifying with them, against the same without them.

    python -m benchmarks.checksums [--items 4000] [--repeats 5]

Without them, every row gets and matches the same number. The two are measured in turns, the one first that was second
before, in seconds of the processor; the shortest count.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from anyseek import Sample
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.catalogue import checksums, collections, items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.maintenance import verify
from anyseek.search.settings import Limits, Settings
from anyseek.search.types import NewItem, Part, Query

_BATCH = 32
_HITS = (10, 1_000)


def measured(count: int, repeats: int) -> dict[str, tuple[float, float]]:
    """By step, the shortest seconds without and with checksums."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    new = _new_items(count)
    dict(steps(new[:_BATCH]))  # which imports and compiles what is needed
    for number in range(repeats):
        for kept in (False, True) if number % 2 else (True, False):
            with ExitStack() as stack:
                if not kept:
                    stack.enter_context(without())
                found[kept].append(dict(steps(new)))
    return {
        step: (min(one[step] for one in found[False]), min(one[step] for one in found[True])) for step in found[True][0]
    }


@contextmanager
def without() -> Iterator[None]:
    """No row is summed up in the block."""

    def of_entries(_collection_id: int, entries: Sequence[Any]) -> list[int | None]:
        return [0] * len(entries)

    with patch.object(checksums, "of_values", lambda *_: 0), patch.object(checksums, "of_entries", of_entries):
        checksums._of_names.cache_clear()
        yield


def steps(new: Sequence[NewItem]) -> Iterator[tuple[str, float]]:
    """Each step on an installation of its own, with the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), Limits(item_cache_bytes=0))
        database, embedder = Database(settings.database_url), HashingEmbedder()
        upgrade(database)
        with database.write() as session:
            made = collections.create(session, "c", embedder.name, embedder.spaces.values())
        started = time.process_time()
        for first in range(0, len(new), _BATCH):
            with database.write() as session:
                items.write(session, made, new[first : first + _BATCH])
        yield "write the items", time.process_time() - started
        engine = SearchEngine(database, settings, embedder)
        for name, hits, times in (("open the index", 1, 1), *((f"query for {hits} hits", hits, 30) for hits in _HITS)):
            started = time.process_time()
            for _ in range(times):
                engine.query("c", Query((Part("caption", "a dog"),), k=hits))
            yield name, (time.process_time() - started) / times
        started = time.process_time()
        assert verify(database, settings) == []
        yield "verify", time.process_time() - started
        engine.close()
        database.close()


def _new_items(count: int) -> list[NewItem]:
    embedder = HashingEmbedder()
    captions = [f"a dog, number {number}" for number in range(count)]
    vectors = embedder.embed([Sample({"caption": text}) for text in captions], list(embedder.spaces))
    return [
        NewItem(str(place), str(place), {space: rows[place] for space, rows in vectors.items()}, text, {"n": place})
        for place, text in enumerate(captions)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checksums", description=__doc__)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    found = measured(asked.items, asked.repeats)
    if asked.json:
        print(json.dumps(found))
        return
    print("| step | without | with | ratio |\n|---|---|---|---|")
    for step, (bare, summed) in found.items():
        print(f"| {step} | {1e3 * bare:.1f} ms | {1e3 * summed:.1f} ms | {summed / bare:.2f} |")


if __name__ == "__main__":
    main()
