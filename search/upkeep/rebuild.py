"""Rebuilds what can be derived from log and originals, even while a service runs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import checks, collections, items, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import chunks
from anyseek.search.errors import AnyseekError, StoreCorrupt
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import MIN_NORM, OpenSpace, open_backend
from anyseek.search.types import IdArray, Item, NewItem
from anyseek.search.upkeep.snapshots import CENTRE_FROM, SnapshotLease, freeze_centre, refresh_snapshots
from anyseek.search.upkeep.verify import broken_assets

logger = logging.getLogger(__name__)

# Makes items again from their originals, by key; items whose originals are gone are left out.
Remake = Callable[[Sequence[Item]], Mapping[str, NewItem]]

REMADE_AT_ONCE = 64


def rebuild(database: Database, settings: Settings, name: str, remake: Remake | None = None) -> list[str]:
    """Rebuild the collection's index from its log, and repair the log.

    A vector that is damaged in the log is taken from the index, where that has it, and is otherwise made again with
    `remake`, as are lost vectors and stored files. Returns the keys of items for which that failed, or whose rows are
    damaged; the next run of `anyseek index` over their folder makes them, and until then they are left out. Waits for a
    process that is writing snapshots. Raises `StoreCorrupt` if a space is damaged beyond mending.
    """

    def referenced(locations: AnyCollection[str]) -> set[str]:
        with database.read() as session:
            return items.referenced_locations(session, locations)

    with database.read() as session:
        head = collections.head(session, name)
    with SnapshotLease(database, settings, head.id) as lease, closing(open_backend(database, settings)) as backend:
        salvage(database, head, backend.open)
        damaged, lost = _lost_items(database, settings, head)
        with database.write() as session:
            checks.settle(session, head, [*damaged, *lost])
        left = lost if remake is None else _remake(database, name, lost, remake)
        _mend_centres(database, lease, head)
        for space in head.spaces:
            backend.open(head, space).clear()
        refresh_snapshots(database, lease, head, backend.open, minimum_tail=1)
    AssetStore(settings.assets).remove_unreferenced(referenced)
    return sorted({*damaged, *left})


def _lost_items(database: Database, settings: Settings, head: Head) -> tuple[list[str], list[str]]:
    """Keys of items whose rows are damaged, and of others whose vectors or stored files are lost."""
    lost = {item.key for item, _ in broken_assets(database, AssetStore(settings.assets), head.name)}
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
            wanted = [new for key, new in made.items() if unchanged.get(key, ("gone", None))[0] == ""]
            own = [
                replace(
                    new, vectors={name: new.vectors[name] for name in new.vectors.keys() & collection.spaces.keys()}
                )
                for new in wanted
            ]
            items.write(session, collection, own)
        left += [key for key in held if key not in made]
    return left


def salvage(database: Database, head: Head, open_space: OpenSpace) -> int:
    """Log the vectors of the index where those of the log are damaged; return how many.

    The index has them only if it was made, and its snapshot written, before the damage. They equal what was logged but
    for rounding, because an index holds centred vectors. What it does not have is left as it is.
    """
    taken = 0
    for space in head.spaces:
        with database.read() as session:
            damaged = checks.damaged_vectors(session, head, space)
        if not damaged:
            continue
        try:
            ids, vectors = _held(head, space, open_space, damaged)
        except AnyseekError as error:
            logger.warning("nothing is taken from the index of space %s: %s", space.name, error)
            continue
        with database.write() as session:
            taken += _log(session, head, space, dict(zip(ids.tolist(), vectors, strict=True)))
    return taken


def uncentred(
    vectors: FloatArray, mean: FloatArray, blocks: Sequence[int] = ()
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """The inverse of `anyseek.search.spaces.base.centre` for raw vectors of length 1, and for which rows it has one.

    A raw block is its mean plus some way along its centred direction; its length, which centring kept, says how far. A
    row with a block that is shorter than the mean, or has no direction, has no inverse or two.
    """
    raw = vectors.astype(np.float64)
    sound = np.ones(len(raw), bool)
    ends = np.cumsum(blocks)[:-1]
    for part, centre in zip(np.split(raw, ends, axis=1), np.split(mean.astype(np.float64), ends), strict=True):
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        part /= np.maximum(lengths, MIN_NORM)
        along = part @ centre[:, np.newaxis]
        beyond = lengths**2 - centre @ centre
        sound &= ((lengths > MIN_NORM) & (beyond > 0))[:, 0]
        part *= np.sqrt(along**2 + np.maximum(beyond, 0)) - along
        part += centre
    return sound, raw.astype(np.float32)


def _held(head: Head, space: SpaceHead, open_space: OpenSpace, ids: Sequence[int]) -> tuple[IdArray, FloatArray]:
    """The `ids` that the index holds, and their raw vectors."""
    live = open_space(head, space)
    live.refresh(head)
    with live.open_view() as view:
        there, centred = view.vectors(np.array(sorted(ids), np.int64))
        sound, raw = uncentred(centred, view.centre, space.blocks)
    return there[sound], raw[sound]


def _log(session: Session, head: Head, space: SpaceHead, vectors: dict[int, FloatArray]) -> int:
    """Append those whose items still have a damaged vector."""
    last_seq = collections.lock(session, collections.get(session, head.name))
    held = items.by_ids(session, checks.damaged_vectors(session, head, space, list(vectors)))
    entries = [
        NewEntry(log.UPSERT, item.id, item.revision, space.id, space.fingerprint, vectors[item.id])
        for item in held.values()
    ]
    log.append(session, head.id, last_seq, entries)
    return len(entries)
