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
_RECORD = "made.json"
# Piece numbers that no gallery reaches.
_QUERIES, _LATER = 1 << 30, 1 << 31

Write = Callable[[Session, Collection, Sequence[NewItem]], object]


@dataclass(frozen=True)
class Gallery:
    """`size` unit vectors in clusters, generated in pieces on demand; equal fields give equal vectors.

    Each piece has its own seed, so no vectors are kept in memory or on the disk.
    """

    size: int
    dimension: int

    def vectors(self, first: int = 0) -> Iterator[FloatArray]:
        """Pieces (`PIECE`, d) of the vectors from `first` on, a multiple of `PIECE`; the last may be shorter."""
        return self._pieces(first // PIECE, self.size - first)

    def queries(self, count: int) -> FloatArray:
        """Vectors (count, d) from the same clusters that are not in the gallery."""
        return np.concatenate(list(self._pieces(_QUERIES, count)))

    def later(self, count: int) -> FloatArray:
        """Further vectors (count, d), for inserts during searches."""
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
    """The bucket of an item by its number; items written one after another get different buckets."""
    return number * 7_919 % BUCKETS


class LookupEmbedder:
    """Embeds the caption `12` as row 12 of the given query vectors (n, d)."""

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
        captions = [str(sample.values["caption"]) for sample in samples]
        numbers = [int(text) if text.isdecimal() else 0 for text in captions]  # a starting service embeds words
        return dict.fromkeys(spaces, self._queries[numbers])

    embed_gallery = embed


def open_catalogue(home: Path, kind: str) -> tuple[Settings, Database]:
    """Settings and database of the catalogue in `home`, which is created if absent."""
    settings = Settings(home=home, index=Index(kind=kind))
    home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    upgrade(database)
    return settings, database


def build_collection(home: Path, gallery: Gallery, kind: str, bulk: bool) -> None:
    """Create the collection in `home` with its index and snapshot, or resume its creation.

    `made.json` then records its parameters and the seconds that this took; with it, only later items are removed.
    """
    parameters = {"vectors": gallery.size, "dimension": gallery.dimension, "kind": kind}
    if (home / _RECORD).exists():
        if not read_record(home).items() >= parameters.items():
            raise SystemExit(f"{home} holds {read_record(home)}, not {parameters}; name another folder")
        remove_later_items(*open_catalogue(home, kind), gallery.size)  # left by a killed run
        return
    settings, database = open_catalogue(home, kind)
    engine = SearchEngine(database, settings, LookupEmbedder(gallery.queries(1), gallery.dimension))
    start = time.perf_counter()
    fill_collection(database, gallery, write_rows if bulk else items.write)
    filled = time.perf_counter()
    engine.write_snapshots(COLLECTION)
    seconds = {"filling": round(filled - start, 1), "building": round(time.perf_counter() - filled, 1)}
    database.close()
    (home / _RECORD).write_text(json.dumps({**parameters, "bulk": bulk, "seconds": seconds}))


def read_record(home: Path) -> dict[str, Any]:
    """The record of `build_collection`: parameters and seconds."""
    record: dict[str, Any] = json.loads((home / _RECORD).read_text())
    return record


def fill_collection(database: Database, gallery: Gallery, write: Write = items.write) -> None:
    """Write an item for each vector, in order; a partly filled collection is completed."""
    embedder = LookupEmbedder(gallery.queries(1), gallery.dimension)
    with database.write() as session:
        if COLLECTION not in {collection.name for collection in collections.list_all(session)}:
            collections.create(session, COLLECTION, embedder.name, embedder.spaces.values())
        count = collections.count(session, collections.get(session, COLLECTION).id)
    for piece in gallery.vectors(count):
        put_items(database, piece, count, write)
        count += len(piece)
    if write is write_rows:
        with database.write() as session:
            collection_id = collections.get(session, COLLECTION).id
            for module in (log, item_rows):
                module.fill_checksums(session, collection_id)


def put_items(database: Database, vectors: FloatArray, first: int, write: Write = items.write) -> None:
    """Write an item for each vector (n, d), numbered from `first` on."""
    with database.write() as session:
        write(session, collections.get(session, COLLECTION), list(_new_items(vectors, first)))


def remove_later_items(settings: Settings, database: Database, size: int) -> None:
    """Delete all rows after the first `size` items, and newer snapshots. No engine may be open."""
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


def write_rows(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> None:
    """Insert the rows that `catalogue.items.write` would write for new keys without assets, but faster."""
    last_seq = collections.lock(session, collection)
    first_id = (session.scalar(select(func.max(ItemRow.id))) or 0) + 1
    numbered = list(enumerate(new_items, first_id))
    spaces = list(collection.spaces.values())
    entries = [(item_id, space, new) for item_id, new in numbered for space in spaces]
    tables: list[tuple[Any, list[dict[str, Any]]]] = [
        (ItemRow, [_item_row(collection.id, item_id, new) for item_id, new in numbered]),
        (FacetRow, [facet for item_id, new in numbered for facet in _facet_rows(collection.id, item_id, new)]),
        (LogRow, [_log_row(collection.id, seq, *entry) for seq, entry in enumerate(entries, last_seq + 1)]),
    ]
    for table, rows in tables:
        session.connection().execute(insert(table.__table__), rows)
    row = update(CollectionRow).where(CollectionRow.id == collection.id)
    session.execute(row.values(last_seq=last_seq + len(entries)))


def _item_row(collection_id: int, item_id: int, new: NewItem) -> dict[str, Any]:
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


def _facet_rows(collection_id: int, item_id: int, new: NewItem) -> list[dict[str, Any]]:
    ids = {"collection_id": collection_id, "item_id": item_id}
    return [ids | facet._asdict() for facet in facets_of(new.attributes)]


def _log_row(collection_id: int, seq: int, item_id: int, space: Space, new: NewItem) -> dict[str, Any]:
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
