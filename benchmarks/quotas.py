"""What it costs to count what an API key stores, which each write of a key with a quota does, on SQLite.

python -m benchmarks.quotas [--items 10000 100000]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.catalogue import collections, quotas
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.catalogue.values import chunks

REPEATS = 9


def milliseconds(items: int) -> float:
    """The shortest time to count `items` items of one key, beside as many of another one."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'catalogue.sqlite'}")
        upgrade(database)
        with database.write() as session:
            collection = collections.create(session, "c", "hashing", HashingEmbedder().spaces.values())
            rows = [
                {
                    "collection_id": collection.id,
                    "key": f"{key} {number}",
                    "content_hash": "",
                    "attributes": {},
                    "charged_to": key,
                    "stored_bytes": number,
                }
                for number in range(items)
                for key in ("alice", "bob")
            ]
            for some in chunks(rows):
                session.execute(insert(ItemRow), some)
        seconds = []
        for _ in range(REPEATS):
            with database.read() as session:
                started = time.perf_counter()
                counted = quotas.usage(session, "alice")
                seconds.append(time.perf_counter() - started)
        assert counted.items == items
        database.close()
    return 1e3 * min(seconds)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quotas", description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000], help="items of the key")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    found = {items: milliseconds(items) for items in asked.items}
    if asked.json:
        print(json.dumps(found))
        return
    for items, cost in found.items():
        print(f"{items:10,} items: {cost:8.2f} ms")


if __name__ == "__main__":
    main()
