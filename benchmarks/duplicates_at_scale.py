"""How long finding the near-duplicates of a large collection takes, and how much memory.

    python -m benchmarks.duplicates_at_scale --items 100000

Items have random vectors around centres, as photos of kinds have, and small random pictures. Every tenth is a copy of
the one before: its vector is near, its picture compressed again.
"""

import io
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from PIL import Image

from anyseek.model.modalities.reading.pictures import thumbnail
from anyseek.model.seam import EmbeddingSpace, FloatArray, Fusion, Sample
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings
from anyseek.search.types import Asset, Collection, NewItem

_NAME, _SPACE, _AT_ONCE = "scale", "looks", 500
_KINDS, _SPREAD, _COPY_SPREAD = 200, 1.2, 0.3  # of vectors around centres, and of copies around their own
_COPY_EVERY = 10


class Nothing:
    """A model that made the vectors and embeds nothing."""

    name, fusion, modalities, fingerprint = "none", Fusion.LATE, frozenset({"rgb"}), "none"

    def __init__(self, dimension: int) -> None:
        prior = np.zeros(dimension, np.float32)
        self.spaces = {_SPACE: EmbeddingSpace(_SPACE, dimension, "none", prior)}

    def default_space(self, modality: str) -> str:
        return _SPACE

    def embed(self, samples: list[Sample], spaces: list[str]) -> dict[str, FloatArray]:
        raise NotImplementedError("this model only holds vectors")

    embed_gallery = embed


@click.command()
@click.option("--items", "count", type=click.IntRange(20), default=100_000, show_default=True)
@click.option("--dimension", type=click.IntRange(8), default=768, show_default=True)
def main(count: int, dimension: int) -> None:
    """Print how many copies were found, in which time, and the process's peak memory before and after."""
    with tempfile.TemporaryDirectory() as folder:
        settings, embedder = Settings(Path(folder)), Nothing(dimension)
        database = Database(settings.database_url)
        upgrade(database)
        with database.write() as session:
            held = collections.create(session, _NAME, embedder.name, embedder.spaces.values())
        store = AssetStore(settings.assets)
        for new in _items(count, dimension, store):
            with database.write() as session:
                items.write(session, held, new)
        engine = SearchEngine(database, settings, embedder)
        engine.write_snapshots(_NAME)
        _timed(engine, store, held, count)
        engine.close()
        database.close()


def _timed(engine: SearchEngine, store: AssetStore, held: Collection, count: int) -> None:
    engine.counts(held.name)  # opens the index
    before, started = _peak(), time.perf_counter()
    found = engine.duplicates(held.name, store)
    seconds = time.perf_counter() - started
    right = sum(
        len(group.copies) == 1 and abs(int(group.best.key) - int(group.copies[0].item.key)) == 1
        for group in found.groups
    )
    click.echo(
        f"{count:,} items: {right:,} of {count // _COPY_EVERY:,} copies found, {len(found.groups) - right} wrong, "
        f"{seconds:.0f} s, {_peak():,.0f} MB at most ({before:,.0f} MB before)"
    )


def _items(count: int, dimension: int, store: AssetStore) -> Iterator[list[NewItem]]:
    random = np.random.default_rng(0)
    centres = random.standard_normal((_KINDS, dimension)).astype(np.float32)
    before: tuple[FloatArray, Image.Image] | None = None
    for start in range(0, count, _AT_ONCE):
        made = []
        for number in range(start, min(start + _AT_ONCE, count)):
            if before is not None and number % _COPY_EVERY == _COPY_EVERY - 1:
                vector = before[0] + _COPY_SPREAD * random.standard_normal(dimension).astype(np.float32)
                picture = _compressed(before[1])
            else:
                vector = centres[number % _KINDS] + _SPREAD * random.standard_normal(dimension).astype(np.float32)
                picture = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((96, 96))
            before = vector, picture
            made.append(_item(number, vector, picture, store))
        yield made


def _item(number: int, vector: FloatArray, picture: Image.Image, store: AssetStore) -> NewItem:
    small = store.put("thumbnail", thumbnail(np.asarray(picture)), "image/jpeg")
    original = Asset("rgb", f"/none/{number}", False, "image/jpeg", f"{number:064}", 1000)
    vectors = {_SPACE: vector / np.linalg.norm(vector)}
    return NewItem(f"{number:07}", f"{number}", vectors, assets=(original, small))


def _compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def _peak() -> float:
    """The most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
