"""Clustered vectors, and a catalogue that holds them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from anyseek.model.seam import EmbeddingSpace, FloatArray, Fusion, Sample
from anyseek.search.catalogue import collections, item_rows, items, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import CollectionRow, FacetRow, ItemRow, LogRow
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.catalogue.values import to_bytes
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.facets import facets_of
from anyseek.search.settings import Index, Settings
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.backend import space_folder
from anyseek.search.types import Collection, NewItem, Space

COLLECTION, SPACE = "things", "given"
PER_CLUSTER = 200
# Items per transaction, and vectors generated at a time.
PIECE = 10_000
# Buckets for the filters: `bucket < n` allows n of a thousand.
BUCKETS = 1_000
SPREAD = 0.7
_MADE = "made.json"
# Piece numbers that no gallery reaches.
_QUERIES, _LATER = 1 << 30, 1 << 31


Write = Callable[[Session, Collection, Sequence[NewItem]], object]


@dataclass(frozen=True)
class Gallery:
    """`size` unit vectors in clusters, made in pieces when they are asked for: the same for the same numbers.

    Each piece has a seed of its own, so vectors need not be held, nor kept on the disk beside the catalogue.
    """

    size: int
    dimension: int

    def vectors(self) -> Iterator[FloatArray]:
        """All of them in order, `PIECE` at a time (fewer at the end)."""
        return self._pieces(0, self.size)

    def from_number(self, first: int) -> Iterator[FloatArray]:
        """Those from a multiple of `PIECE` on."""
        return self._pieces(first // PIECE, self.size - first)

    def queries(self, count: int) -> FloatArray:
        """Vectors (count, d) from the same clusters, none of them in the gallery."""
        return np.concatenate(list(self._pieces(_QUERIES, count)))

    def later(self, count: int) -> FloatArray:
        """As `queries`, others: to be put while searching."""
        return np.concatenate(list(self._pieces(_LATER, count)))

    def _pieces(self, first_piece: int, count: int) -> Iterator[FloatArray]:
        centres = self._centres()
        for number, start in enumerate(range(0, count, PIECE), first_piece):
            rng = np.random.default_rng([1, number])
            rows = rng.standard_normal((PIECE, self.dimension), np.float32)
            rows *= SPREAD
            rows += centres[rng.integers(0, len(centres), PIECE)]
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            yield rows[: count - start]

    def _centres(self) -> FloatArray:
        shape = (max(1, self.size // PER_CLUSTER), self.dimension)
        return np.random.default_rng(0).standard_normal(shape, np.float32)


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
        said = [str(sample.values["caption"]) for sample in samples]
        numbers = [int(words) if words.isdecimal() else 0 for words in said]  # a service asks for words as it starts
        return dict.fromkeys(spaces, self._queries[numbers])

    embed_gallery = embed


def open_catalogue(home: Path, kind: str) -> tuple[Settings, Database]:
    """The catalogue in `home`, made if absent."""
    settings = Settings(home=home, index=Index(kind=kind))
    home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    return settings, database


def make(home: Path, gallery: Gallery, kind: str, bulk: bool) -> None:
    """The collection in `home` with its index and snapshot; what was left half-made is gone on with.

    `made.json` then says what was made and how many seconds that took; it is not made again.
    """
    wanted = {"vectors": gallery.size, "dimension": gallery.dimension, "kind": kind}
    if (home / _MADE).exists():
        if not made(home).items() >= wanted.items():
            raise SystemExit(f"{home} holds {made(home)}, not {wanted}; take another folder")
        take_back(*open_catalogue(home, kind), gallery.size)  # what a killed run has put
        return
    settings, database = open_catalogue(home, kind)
    engine = SearchEngine(database, settings, GivenEmbedder(gallery.queries(1), gallery.dimension))
    began = time.perf_counter()
    fill(database, gallery, write_new if bulk else items.write)
    filled = time.perf_counter()
    engine.write_snapshots(COLLECTION)
    seconds = {"filling": round(filled - began, 1), "building": round(time.perf_counter() - filled, 1)}
    database.close()
    (home / _MADE).write_text(json.dumps({**wanted, "bulk": bulk, "seconds": seconds}))


def made(home: Path) -> dict[str, Any]:
    """What `make` has made."""
    told: dict[str, Any] = json.loads((home / _MADE).read_text())
    return told


def fill(database: Database, gallery: Gallery, write: Write = items.write) -> None:
    """A collection with an item for each vector, in their order; one that was left half-filled is gone on with."""
    embedder = GivenEmbedder(gallery.queries(1), gallery.dimension)
    with database.write() as session:
        if COLLECTION not in {held.name for held in collections.list_all(session)}:
            collections.create(session, COLLECTION, embedder.name, embedder.spaces.values())
        held = collections.count(session, collections.get(session, COLLECTION).id)
    for piece in gallery.from_number(held):
        put(database, piece, held, write)
        held += len(piece)
    if write is write_new:
        with database.write() as session:
            collection_id = collections.get(session, COLLECTION).id
            for module in (log, item_rows):
                module.fill_checksums(session, collection_id)


def put(database: Database, vectors: FloatArray, first: int, write: Write = items.write) -> None:
    """Write items numbered from `first` on."""
    with database.write() as session:
        write(session, collections.get(session, COLLECTION), list(_new_items(vectors, first)))


def take_back(settings: Settings, database: Database, size: int) -> None:
    """Undo what was put after the first `size` items, to the row, with snapshots of it; no engine is open."""
    with database.write() as session:
        head = collections.head(session, COLLECTION)
        for column in (FacetRow.item_id, ItemRow.id, LogRow.seq):
            session.execute(delete(column.class_).where(column > size).execution_options(synchronize_session=False))
        session.execute(update(CollectionRow).values(last_seq=size).execution_options(synchronize_session=False))
    for path in snapshots.list_snapshots(space_folder(settings, head.id, head.spaces[0].id)):
        if snapshots.position_of(path)[0] > size:
            snapshots.remove(path)


def key_of(number: int) -> str:
    return f"{number:09d}"


def _new_items(vectors: FloatArray, first: int) -> Iterator[NewItem]:
    for number, vector in enumerate(vectors, first):
        yield NewItem(key_of(number), str(number), {SPACE: vector}, attributes={"bucket": bucket_of(number)})


def write_new(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> None:
    """As `anyseek.search.catalogue.items.write`, of keys that the collection does not have, without assets."""
    last_seq = collections.lock(session, collection)
    first_id = (session.scalar(select(func.max(ItemRow.id))) or 0) + 1
    numbered = list(enumerate(new_items, first_id))
    spaces = list(collection.spaces.values())
    entries = [(item_id, space, new) for item_id, new in numbered for space in spaces]
    tables: list[tuple[Any, list[dict[str, Any]]]] = [
        (ItemRow, [_item(collection.id, item_id, new) for item_id, new in numbered]),
        (FacetRow, [facet for item_id, new in numbered for facet in _facets(collection.id, item_id, new)]),
        (LogRow, [_entry(collection.id, seq, *entry) for seq, entry in enumerate(entries, last_seq + 1)]),
    ]
    for table, rows in tables:
        session.connection().execute(insert(table.__table__), rows)
    held = update(CollectionRow).where(CollectionRow.id == collection.id)
    session.execute(held.values(last_seq=last_seq + len(entries)))


def _item(collection_id: int, item_id: int, new: NewItem) -> dict[str, Any]:
    return {
        "id": item_id,
        "collection_id": collection_id,
        "key": new.key,
        "source_id": new.source_id,
        "content_hash": new.content_hash,
        "caption": new.caption,
        "attributes": dict(new.attributes),
        "sample_hash": new.sample_hash,
    }


def _facets(collection_id: int, item_id: int, new: NewItem) -> list[dict[str, Any]]:
    of_item = {"collection_id": collection_id, "item_id": item_id}
    return [of_item | facet._asdict() for facet in facets_of(new.attributes)]


def _entry(collection_id: int, seq: int, item_id: int, space: Space, new: NewItem) -> dict[str, Any]:
    return {
        "collection_id": collection_id,
        "seq": seq,
        "kind": log.UPSERT,
        "item_id": item_id,
        "space_id": space.id,
        "fingerprint": space.fingerprint,
        "vector": to_bytes(new.vectors[space.name]),
        "revision": 1,
    }
