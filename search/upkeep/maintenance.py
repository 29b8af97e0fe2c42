"""Checks that catalogue, log, index and assets agree, and rebuilds what can be derived, even while a service runs."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sqlalchemy.orm import Session

from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import checks, collections, items, log, reembedding, words
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import CHUNK, chunks
from anyseek.search.errors import CollectionNotFound, StoreCorrupt
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, LiveSpace, View, centre, open_backend
from anyseek.search.types import Asset, Collection, Item, NewItem
from anyseek.search.upkeep.repair import salvage
from anyseek.search.upkeep.snapshots import CENTRE_FROM, SnapshotLease, freeze_centre, refresh_snapshots

logger = logging.getLogger(__name__)

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
    """All problems; empty if there are none. Log entries newer than the last snapshot are not a problem.

    Whatever damage makes a check fail is a problem too, and the other checks go on.
    """
    found = [*_checked("", database, checks.database_faults), *_checked("", database, _orphans)]
    names: list[str] = []

    def read_names(session: Session) -> Iterable[str]:
        names.extend(collection.name for collection in collections.list_all(session))
        return ()

    found += _checked("", database, read_names)
    with closing(open_backend(database, settings)) as backend:
        for name in names:
            try:
                found += list(_problems(database, settings, name, backend))
            except CollectionNotFound:
                continue  # it has been deleted in the meantime
    return [*found, *_word_problems(database, names)]


def notes(database: Database) -> list[Problem]:
    """Known conditions that are not problems, as far as damage lets them be read; `verify` reports the damage."""
    found: list[Problem] = []
    for kind in (unchecked, left_out):
        try:
            found += kind(database)
        except Exception:
            logger.debug("notes cannot be read", exc_info=True)
    return found


def unchecked(database: Database) -> list[Problem]:
    """Rows that an older version wrote without checksums, whose damage cannot be told; known, and not a problem."""
    with database.read() as session:
        heads = [collections.head(session, collection.name) for collection in collections.list_all(session)]
        return [
            Problem(head.name, f"{count} rows have no checksum yet; anyseek rebuild {head.name} writes them")
            for head in heads
            if (count := checks.unchecked(session, head))
        ]


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


def rebuild(
    database: Database, settings: Settings, name: str, remake: Remake | None = None, index_words: bool = True
) -> list[str]:
    """Rebuild the collection's index from its log, and repair the log.

    Full text has one index for all collections: `index_words=False` if the rebuild of another has just made it.

    A vector that is damaged in the log is taken from the index, where that has it, and is otherwise made again with
    `remake`, as are lost vectors and stored files. Returns the keys of items for which that failed, or whose rows are
    damaged; the next run of `anyseek index` over their folder makes them, and until then they are left out. Waits for a
    process that is writing snapshots. Raises `StoreCorrupt` if a space is damaged beyond mending.
    """
    with database.read() as session:
        head = collections.head(session, name)
    with SnapshotLease(database, settings, head.id) as lease, closing(open_backend(database, settings)) as backend:
        salvage(database, head, backend.open)
        damaged, lost = _lost_items(database, settings, head)
        with database.write() as session:
            checks.settle(session, head, [*damaged, *lost], index_words)
        left = lost if remake is None else _remake(database, name, lost, remake)
        _mend_centres(database, lease, head)
        for space in head.spaces:
            backend.open(head, space).clear()
        refresh_snapshots(database, lease, head, backend.open, minimum_tail=1)
    AssetStore(settings.assets).remove_unreferenced(lambda locations: _referenced(database, locations))
    return sorted({*damaged, *left})


def _checked(collection: str, database: Database, check: Callable[[Session], Iterable[str]]) -> list[Problem]:
    """The problems that a check finds in a transaction of its own."""

    def run() -> list[str]:
        with database.read() as session:
            return list(check(session))

    return _tried(collection, "the database", run)


def _tried(collection: str, what: str, check: Callable[[], Iterable[str]]) -> list[Problem]:
    """The problems that a check finds; if damage stops the check, that is one more."""
    found: list[Problem] = []
    try:
        for sentence in check():
            found.append(Problem(collection, sentence))
    except CollectionNotFound:
        raise
    except Exception as error:
        logger.debug("a check failed", exc_info=True)
        found.append(Problem(collection, f"{what} cannot be read: {error}"))
    return found


def _orphans(session: Session) -> Iterator[str]:
    for table, count in checks.orphans(session):
        yield f"{count} rows of table {table!r} refer to rows that are not there"


def _problems(database: Database, settings: Settings, name: str, backend: Backend) -> Iterator[Problem]:
    heads: list[Head] = []

    def read_head(session: Session) -> Iterable[str]:
        heads.append(collections.head(session, name))
        return ()

    yield from _checked(name, database, read_head)
    for head in heads:
        for check in (_log_faults, _entry_faults, _item_faults, _vector_faults, _facet_faults):
            yield from _checked(name, database, partial(_of_now, check, name))
        for space in head.spaces:
            where = f"the index of space {space.name!r}"
            yield from _tried(name, where, partial(_space_faults, database, head, space, backend))
        yield from _tried(name, "a stored file", partial(_asset_faults, database, settings, name))


def _of_now(check: Callable[[Session, Head], Iterable[str]], name: str, session: Session) -> Iterable[str]:
    """The results of a check on the head of its own transaction, since the log may have been compacted."""
    return check(session, collections.head(session, name))


def _log_faults(session: Session, head: Head) -> Iterator[str]:
    if missing := checks.missing_numbers(session, head):
        some = ", ".join(str(seq) for seq in missing[:5])
        yield f"{len(missing)} entries are missing in the log: {some}{', …' if len(missing) > 5 else ''}"
    if beyond := checks.entries_beyond_end(session, head):
        yield f"{beyond} entries of the log have numbers above {head.last_seq}, the last one given"
    if head.compacted_seq > head.last_seq:
        yield f"the log is marked as compacted up to {head.compacted_seq}, beyond its last entry {head.last_seq}"
    for item_id in checks.vanished_items(session, head):
        yield f"the log has vectors of item number {item_id}, which is gone without having been deleted"


def _entry_faults(session: Session, head: Head) -> Iterator[str]:
    for seq in checks.damaged_entries(session, head):
        yield f"entry {seq} of the log, which newer ones have replaced, is damaged"


def _item_faults(session: Session, head: Head) -> Iterator[str]:
    for item in checks.damaged_items(session, head):
        yield f"the row of item {item.key!r} (number {item.id}) or of one of its files is damaged"
    for name in collections.damaged_spaces(session, head.id):
        yield f"the row of the space {name!r} is damaged"
    for space in head.spaces:
        for modality in collections.damaged_tunings(session, space.id):
            yield f"the tuning of {modality} queries is damaged and not used; anyseek collections tune makes it anew"


def _facet_faults(session: Session, head: Head) -> Iterator[str]:
    if stale := list(checks.stale_facets(session, head)):
        yield f"filters would not see the attributes of {len(stale)} items as they are, such as {stale[0]!r}"


def _word_problems(database: Database, names: Sequence[str]) -> list[Problem]:
    """Problems of full text in all collections, in one transaction, because they share an index that is read once."""
    found: list[Problem] = []

    def check(session: Session) -> Iterable[str]:
        indexed = words.indexed(session)
        for name in names:
            with suppress(CollectionNotFound):
                found.extend(_tried(name, "the database", partial(_word_faults, session, name, indexed)))
        return ()

    return [*_checked("", database, check), *found]


def _word_faults(session: Session, name: str, indexed: Mapping[int, int] | None) -> Iterator[str]:
    with session.begin_nested():  # or PostgreSQL would go on with no other collection after a failure
        stale = list(checks.stale_words(session, collections.head(session, name), indexed))
    if stale:
        yield f"words would not find {len(stale)} items as they are, such as {stale[0]!r}"


def _space_faults(database: Database, head: Head, space: SpaceHead, backend: Backend) -> Iterator[str]:
    live = backend.open(head, space)
    yield from live.faults()
    yield from _index_faults(database, live, head, space)


def _asset_faults(database: Database, settings: Settings, name: str) -> Iterator[str]:
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
    """The files of all sound items, by id of the item."""
    after = 0
    while True:
        with database.read() as session:
            ids = items.ids_after(session, collections.head(session, name).id, after, CHUNK)
            page = items.by_ids(session, ids)
        if not ids:
            return
        sound = (item for item in page.values() if not item.damaged)
        yield from ((item, asset) for item in sound for asset in item.assets.values())
        after = ids[-1]


def _broken_assets(database: Database, store: AssetStore, name: str) -> Iterator[tuple[Item, Asset]]:
    for item, asset in _assets(database, name):
        if asset.stored and not store.is_intact(asset) and _still_has(database, item, asset):
            yield item, asset


def _still_has(database: Database, item: Item, asset: Asset) -> bool:
    """True if the item still has the asset, which may have been replaced while its file was read."""
    with database.read() as session:
        now = items.by_ids(session, [item.id])
    return item.id in now and now[item.id].assets.get(asset.name) == asset


def _lost_items(database: Database, settings: Settings, head: Head) -> tuple[list[str], list[str]]:
    """Keys of items whose rows are damaged, and of others whose vectors or stored files are lost."""
    lost = {item.key for item, _ in _broken_assets(database, AssetStore(settings.assets), head.name)}
    with database.read() as session:
        damaged = {item.key for item in checks.damaged_items(session, head)}
        for space in head.spaces:
            lost.update(key for key, _ in checks.faulty_vectors(session, head, space))
    return sorted(damaged), sorted(lost - damaged)


def _mend_centres(database: Database, lease: SnapshotLease, head: Head) -> None:
    """Take a new mean for spaces whose own is damaged. Raises `StoreCorrupt` if there are too few vectors for one."""
    with database.read() as session:
        damaged = collections.damaged_spaces(session, head.id)
    for space in head.spaces:
        if space.name in damaged and not freeze_centre(database, lease, head, space, needed=CENTRE_FROM):
            raise StoreCorrupt(
                f"the space {space.name!r} of {head.name} is damaged and has too few vectors to be mended; restore a "
                f"backup, or give the items vectors again: anyseek collections reembed {head.name} --model {head.model}"
            )


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
            wanted = [_of(collection, new) for key, new in made.items() if unchanged.get(key, ("gone", None))[0] == ""]
            items.write(session, collection, wanted)
        left += [key for key in held if key not in made]
    return left


def _of(collection: Collection, made: NewItem) -> NewItem:
    """An item without vectors of spaces that the model has come to have and the collection lacks."""
    return replace(made, vectors={name: made.vectors[name] for name in made.vectors.keys() & collection.spaces.keys()})


def _referenced(database: Database, locations: AnyCollection[str]) -> set[str]:
    with database.read() as session:
        return items.referenced_locations(session, locations)
