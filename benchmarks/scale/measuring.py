"""Measure bytes per item on a generated collection, in SQLite and with the hashing model."""

import io
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy import text

from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.runs import IndexerContext, NoProgress, Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings

_SIDE = 320


def measure(items: int) -> dict[str, float]:
    """Bytes an item by part of the catalogue, of its thumbnail and its index, and items a second, for `items` items."""
    with tempfile.TemporaryDirectory() as folder:
        photos, settings = Path(folder, "photos"), Settings(Path(folder, "home"))
        make_photos(photos, items)
        started = time.perf_counter()
        _index(photos, settings)
        seconds = time.perf_counter() - started
        parts = _catalogue_parts(settings.home / "catalogue.sqlite")
        sizes = {name: size / items for name, size in parts.items()}
        sizes["thumbnail_bytes"] = bytes_below(settings.assets) / items
        sizes["flat_index_bytes"] = bytes_below(settings.indexes) / items
        return {**sizes, "items_a_second": items / seconds}


def make_photos(folder: Path, count: int) -> None:
    """JPEGs with large shapes and grain, as photos have them, and a sidecar with three attributes each."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(count):
        small = chance.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(small).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.int16)
        grain = chance.normal(0, 8, (_SIDE, _SIDE, 1))
        data = io.BytesIO()
        Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)).save(data, "JPEG", quality=85)
        name = folder / f"holiday-{number:07}.jpg"
        name.write_bytes(data.getvalue())
        attributes = {"year": 1990 + number % 30, "camera": f"camera {number % 7}", "taken": "2021-05-04T10:00:00Z"}
        name.with_suffix(".json").write_text(json.dumps({"caption": f"picture {number}", "attributes": attributes}))


def _index(photos: Path, settings: Settings) -> None:
    settings.home.mkdir()
    database = Database(settings.database_url)
    upgrade(database)
    embedder = HashingEmbedder()
    engine = SearchEngine(database, settings, embedder)
    context = IndexerContext(settings, database, AssetStore(settings.assets), embedder, engine)
    collection, source = ensure_collection(context, "c"), open_source(settings, photos)
    with Owner(database, settings) as owner:
        job = open_job(collection, source, owner, prune=False)
        IndexRun(lambda: context, source, owner, NoProgress()).run(job)
    database.close()


def _catalogue_parts(path: Path) -> dict[str, float]:
    """Bytes by which the database shrinks when a table is emptied; what is left after all is the catalogue's base."""
    copy = path.with_name("copy.sqlite")
    shutil.copy(path, copy)
    database = Database(f"sqlite:///{copy}")
    names = {"ledger": "ledger_bytes", "log": "sqlite_log_entry_bytes", "facets": "facet_bytes"}
    sizes: dict[str, float] = {}
    before = _vacuumed(database)
    for table, name in names.items():
        with database.write() as session:
            session.execute(text(f"DELETE FROM {table}"))
        after = _vacuumed(database)
        sizes[name], before = before - after, after
    sizes["catalogue_bytes"] = before
    database.close()
    return sizes


def _vacuumed(database: Database) -> int:
    with database.engine.connect() as connection:
        connection.execute(text("VACUUM"))
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages * connection.execute(text("PRAGMA page_size")).scalar_one())


def bytes_below(folder: Path) -> int:
    """The bytes of all files in a folder and below it; a file takes up to a block of the disk more."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
