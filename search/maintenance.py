"""Checks that catalogue, log, index and assets agree, and rebuilds what can be derived, even while a service runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from search.assets import AssetStore
from search.catalogue import checks, collections, items, log, reembedding
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.session import Database
from search.catalogue.tables import CHUNK, chunks
from search.errors import CollectionNotFound
from search.settings import Settings
from search.snapshot_lease import SnapshotLease
from search.spaces.base import Backend, LiveSpace, View, centre
from search.spaces.opening import open_backend
from search.types import Asset, Item, NewItem
from search.upkeep import refresh_snapshots

# Makes items again from their originals, by key; items whose originals are gone are left out.
Remake = Callable[[Sequence[Item]], Mapping[str, NewItem]]

REMADE_AT_ONCE = 64
# Vectors are centred on the same numbers each time, except for the last bit of a sum.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Problem:
    """A disagreement, described in one sentence; `collection` is empty where it is unknown."""

    collection: str
    what: str


def verify(database: Database, settings: Settings) -> list[Problem]:
    """All problems; empty if there are none. Log entries newer than the last snapshot are not a problem."""
    with database.read() as session:
        found = [
            Problem("", f"{count} rows of table {table!r} refer to rows that are not there")
            for table, count in checks.orphans(session)
        ]
        names = [collection.name for collection in collections.list_all(session)]
    with closing(open_backend(database, settings)) as backend:
        for name in names:
            try:
                found += [Problem(name, what) for what in _faults(database, settings, name, backend)]
            except CollectionNotFound:
                continue  # it has been deleted in the meantime
    return found


def missing_originals(database: Database) -> list[Problem]:
    """Files that the user keeps elsewhere and that are missing now; worth a note, but not a problem."""
    found = []
    with database.read() as session:
        names = [collection.name for collection in collections.list_all(session)]
    for name in names:
        for item, asset in _assets(database, name):
            if not asset.stored and not Path(asset.location).is_file():
                found.append(Problem(name, f"the original of item {item.key!r} is gone: {asset.location}"))
    return found


def left_out(database: Database) -> list[Problem]:
    """Items that queries no longer find since the last switch of models; known, and not a problem."""
    with database.read() as session:
        heads = [collections.head(session, collection.name) for collection in collections.list_all(session)]
        return [
            Problem(head.name, f"the item {key!r} was left out of the switch to the model {head.model}: {why}")
            for head in heads
            if (refused := reembedding.left_out(session, head.id))
            for key, why in sorted(refused.items())
            if any(checks.lacks_vector(session, head, space, key) for space in head.spaces)
        ]


def rebuild(database: Database, settings: Settings, name: str, remake: Remake | None = None) -> list[str]:
    """Rebuild the collection's index from its log, and repair the log.

    Items whose vectors or stored files are lost are made again with `remake`. Returns the keys of items for which that
    failed; the next run of `anyseek index` over their folder makes them. Waits for a process that is writing snapshots.
    """
    with database.read() as session:
        head = collections.head(session, name)
    with SnapshotLease(database, settings, head.id) as lease:
        lost = _lost_items(database, settings, head)
        with database.write() as session:
            checks.settle(session, head, lost)
        left = lost if remake is None else _remake(database, name, lost, remake)
        with closing(open_backend(database, settings)) as backend:
            for space in head.spaces:
                backend.open(head, space).clear()
            refresh_snapshots(database, lease, head, backend.open, minimum_tail=1)
    AssetStore(settings.assets).remove_unreferenced(lambda locations: _referenced(database, locations))
    return left


def _faults(database: Database, settings: Settings, name: str, backend: Backend) -> Iterator[str]:
    with database.read() as session:
        head = collections.head(session, name)
        if missing := checks.missing_numbers(session, head):
            some = ", ".join(str(seq) for seq in missing[:5])
            yield f"{len(missing)} entries are missing in the log: {some}{', …' if len(missing) > 5 else ''}"
        if beyond := checks.entries_beyond_end(session, head):
            yield f"{beyond} entries of the log have numbers above {head.last_seq}, the last one given"
        if head.compacted_seq > head.last_seq:
            yield f"the log is marked as compacted up to {head.compacted_seq}, beyond its last entry {head.last_seq}"
        for item_id in checks.vanished_items(session, head):
            yield f"the log has vectors of item number {item_id}, which is gone without having been deleted"
        yield from _vector_faults(session, head)
        if stale := list(checks.stale_facets(session, head)):
            yield f"filters would not see the attributes of {len(stale)} items as they are, such as {stale[0]!r}"
    for space in head.spaces:
        live = backend.open(head, space)
        yield from live.faults()
        yield from _index_faults(database, live, head, space)
    for item, asset in _broken_assets(database, AssetStore(settings.assets), name):
        yield f"the stored file of {asset.name!r} of item {item.key!r} is missing or has changed since it was stored"


def _vector_faults(session: Session, head: Head) -> Iterator[str]:
    """Report missing vectors, except in spaces that do not serve and of items that the last switch left out."""
    left_out = reembedding.left_out(session, head.id)
    for space in head.spaces:
        for key, what in checks.faulty_vectors(session, head, space):
            if what != checks.NO_VECTOR or key not in left_out:
                yield f"the item {key!r} {what} in space {space.name!r}"
    for space in head.beside:
        for key, what in checks.faulty_vectors(session, head, space):
            if what != checks.NO_VECTOR:
                yield f"the item {key!r} {what} in space {space.name!r}, which is {space.state}"


def _index_faults(database: Database, live: LiveSpace, head: Head, space: SpaceHead) -> Iterator[str]:
    """Differences between a newly opened index and the log; items that change in the meantime are left out."""
    live.refresh(head)
    with live.reading() as view, database.read() as session:
        now = collections.head_by_id(session, head.id)
        behind = live.cursor < min(now.compacted_seq, now.last_seq)
        compared = None if behind else _compare(session, live.cursor, view, head, space)
    if compared is None:  # deletions after the cursor are gone from the log: open the index anew
        yield from _index_faults(database, live, now, space)
        return
    for count, what in zip(compared, ("lacks the vectors", "has wrong vectors", "has needless vectors"), strict=True):
        if count:
            yield f"the index of space {space.name!r} {what} of {count} items"


def _compare(session: Session, cursor: int, view: View, head: Head, space: SpaceHead) -> tuple[int, int, int]:
    """The numbers of items that the index lacks, that differ from the log, and that the log does not have."""
    changed = np.array(sorted(log.items_after(session, head.id, cursor)), np.int64)
    lacking = differing = held = 0
    for page in log.latest_vectors(session, head.id, space.id):
        ids, raw = page.of(space.fingerprint, space.dimension)
        settled = ~np.isin(ids, changed)
        ids, expected = ids[settled], centre(raw[settled], view.centre, space.blocks)
        there, vectors = view.vectors(ids)
        lacking += len(ids) - len(there)
        differing += int((np.abs(vectors - expected[np.isin(ids, there)]) > TOLERANCE).any(1).sum())
        held += len(there)
    return lacking, differing, view.count() - held - len(view.vectors(changed)[0])


def _assets(database: Database, name: str) -> Iterator[tuple[Item, Asset]]:
    after = None
    while True:
        with database.read() as session:
            page = items.list_page(session, collections.get(session, name), after, CHUNK)
        if not page:
            return
        yield from ((item, asset) for item in page for asset in item.assets.values())
        after = page[-1].key


def _broken_assets(database: Database, store: AssetStore, name: str) -> Iterator[tuple[Item, Asset]]:
    for item, asset in _assets(database, name):
        if asset.stored and not store.is_intact(asset) and _still_has(database, item, asset):
            yield item, asset


def _still_has(database: Database, item: Item, asset: Asset) -> bool:
    """Whether the item still has the asset; it may have been replaced while its file was read."""
    with database.read() as session:
        now = items.by_ids(session, [item.id])
    return item.id in now and now[item.id].assets.get(asset.name) == asset


def _lost_items(database: Database, settings: Settings, head: Head) -> list[str]:
    """Keys of items whose vectors or stored files are lost."""
    lost = [item.key for item, _ in _broken_assets(database, AssetStore(settings.assets), head.name)]
    with database.read() as session:
        for space in head.spaces:
            lost += [key for key, _ in checks.faulty_vectors(session, head, space)]
    return sorted(set(lost))


def _remake(database: Database, name: str, lost: Sequence[str], remake: Remake) -> list[str]:
    """Make items again and write them; return the keys of those for which `remake` failed."""
    left: list[str] = []
    for keys in chunks(lost, REMADE_AT_ONCE):
        with database.read() as session:
            collection = collections.get(session, name)
            held = items.by_keys(session, collection, keys)
        made = remake(list(held.values()))
        with database.write() as session:
            unchanged = items.hashes(session, collection, keys)
            wanted = [new for key, new in made.items() if unchanged.get(key, ("gone", None))[0] == ""]
            items.write(session, collection, wanted)
        left += [key for key in held if key not in made]
    return left


def _referenced(database: Database, locations: AnyCollection[str]) -> set[str]:
    with database.read() as session:
        return items.referenced_locations(session, locations)
