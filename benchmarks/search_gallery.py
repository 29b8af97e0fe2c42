"""Clustered vectors, and a catalogue that holds them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.embedder import EmbeddingSpace, FloatArray, Fusion, Sample
from search.catalogue import collections, items
from search.catalogue.session import Database
from search.catalogue.upgrade import upgrade
from search.settings import Index, Settings
from search.types import NewItem

COLLECTION, SPACE = "things", "given"
PER_CLUSTER = 200
WRITTEN_AT_ONCE = 1_000
# Of the filters: `bucket < n` allows n of a thousand.
BUCKETS = 1_000
SPREAD = 0.7


@dataclass(frozen=True)
class Gallery:
    """Unit vectors (n, d), queries from the same clusters, and others to insert."""

    vectors: FloatArray
    queries: FloatArray
    later: FloatArray


def make_gallery(size: int, dimension: int, queries: int, later: int) -> Gallery:
    """The same for the same numbers."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(1, size // PER_CLUSTER), dimension)).astype(np.float32)
    return Gallery(*(_around(centres, count, rng) for count in (size, queries, later)))


def bucket_of(number: int) -> int:
    """Of the item with that number; neighbours in the order of writing are in different ones."""
    return number * 7_919 % BUCKETS


class GivenEmbedder:
    """Looks up vectors: the caption `12` stands for the query of that number."""

    name, fingerprint = "given", "given"
    modalities = frozenset({"caption"})
    fusion = Fusion.LATE

    def __init__(self, queries: FloatArray, dimension: int) -> None:
        self._queries = queries
        self.spaces: Mapping[str, EmbeddingSpace] = {
            SPACE: EmbeddingSpace(SPACE, dimension, "given/given", np.zeros(dimension, np.float32))
        }

    def default_space(self, modality: str) -> str:
        return SPACE

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        numbers = [int(str(sample.values["caption"])) for sample in samples]
        return dict.fromkeys(spaces, self._queries[numbers])

    embed_gallery = embed


def open_catalogue(home: Path, kind: str) -> tuple[Settings, Database]:
    """The catalogue in `home`, made if absent."""
    settings = Settings(home=home, index=Index(kind=kind))
    home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    return settings, database


def fill(database: Database, embedder: GivenEmbedder, vectors: FloatArray) -> None:
    """A collection with an item for each vector, in their order."""
    with database.write() as session:
        collections.create(session, COLLECTION, embedder.name, embedder.spaces.values())
    for start in range(0, len(vectors), WRITTEN_AT_ONCE):
        put(database, vectors[start : start + WRITTEN_AT_ONCE], start)


def put(database: Database, vectors: FloatArray, first: int) -> None:
    """Write items numbered from `first` on."""
    with database.write() as session:
        items.write(session, collections.get(session, COLLECTION), list(_new_items(vectors, first)))


def _new_items(vectors: FloatArray, first: int) -> Iterator[NewItem]:
    for number, vector in enumerate(vectors, first):
        yield NewItem(f"{number:09d}", str(number), {SPACE: vector}, attributes={"bucket": bucket_of(number)})


def _around(centres: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """In pieces, so that nothing but the result takes much memory."""
    rows = np.empty((count, centres.shape[1]), np.float32)
    for start in range(0, count, 10_000):
        part = rows[start : start + 10_000]
        rng.standard_normal(part.shape, np.float32, out=part)
        part *= SPREAD
        part += centres[rng.integers(0, len(centres), len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows
