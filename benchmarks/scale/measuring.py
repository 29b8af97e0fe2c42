"""Bytes per item of a generated collection, in SQLite and with the hashing model."""

import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import text

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from benchmarks.ingest.rates import encode_photo, index_folder, open_context

_SIDE = 320


def measure(items: int) -> dict[str, float]:
    """Index `items` generated photos; return bytes per item of each part, and items per second."""
    with tempfile.TemporaryDirectory() as folder:
        photos, settings = Path(folder, "photos"), Settings(Path(folder, "home"))
        _make_photos(photos, items)
        start = time.perf_counter()
        context = open_context(settings, HashingEmbedder())
        index_folder(context, photos)
        context.database.close()
        seconds = time.perf_counter() - start
        parts = _catalogue_parts(settings.home / "catalogue.sqlite")
        sizes = {name: size / items for name, size in parts.items()}
        sizes["thumbnail_bytes"] = bytes_below(settings.assets) / items
        sizes["flat_index_bytes"] = bytes_below(settings.indexes) / items
        return {**sizes, "items_a_second": items / seconds}


def _make_photos(folder: Path, count: int) -> None:
    """JPEGs with large shapes and grain, as photos have them, each with a sidecar of three attributes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 8, (_SIDE, _SIDE, 1)).astype(np.int16)
    for number in range(count):
        name = folder / f"holiday-{number:07}.jpg"
        name.write_bytes(encode_photo(rng, grain, (_SIDE, _SIDE)))
        attributes = {"year": 1990 + number % 30, "camera": f"camera {number % 7}", "taken": "2021-05-04T10:00:00Z"}
        name.with_suffix(".json").write_text(json.dumps({"caption": f"picture {number}", "attributes": attributes}))


def _catalogue_parts(path: Path) -> dict[str, float]:
    """Bytes by which the database shrinks when each table is emptied; `catalogue_bytes` is the rest."""
    copy = path.with_name("copy.sqlite")
    shutil.copy(path, copy)
    database = Database(f"sqlite:///{copy}")
    names = {"ledger": "ledger_bytes", "log": "sqlite_log_entry_bytes", "facets": "facet_bytes"}
    sizes: dict[str, float] = {}
    before = _size_after_vacuum(database)
    for table, name in names.items():
        with database.write() as session:
            session.execute(text(f"DELETE FROM {table}"))
        after = _size_after_vacuum(database)
        sizes[name], before = before - after, after
    sizes["catalogue_bytes"] = before
    database.close()
    return sizes


def _size_after_vacuum(database: Database) -> int:
    with database.engine.connect() as connection:
        connection.execute(text("VACUUM"))
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages * connection.execute(text("PRAGMA page_size")).scalar_one())


def bytes_below(folder: Path) -> int:
    """Total size of all files below a folder, without the unused ends of disk blocks."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def catalogue_bytes(home: Path) -> int:
    """Size of the SQLite catalogue in a data directory, with its write-ahead log."""
    return sum(path.stat().st_size for path in home.glob("catalogue.sqlite*"))
