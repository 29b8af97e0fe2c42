"""Rebuild of everything that derives from the log and the originals, even while a service runs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.assets.opening import open_assets
from anyseek.search.catalogue import checks, collections, items, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import chunks
from anyseek.search.errors import AnyseekError, StoreCorrupt
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import MIN_NORM, OpenSpace, open_backend
from anyseek.search.types import IdArray, Item, NewItem
from anyseek.search.upkeep.snapshots import MIN_CENTRE_VECTORS, SnapshotLease, freeze_centre, refresh_snapshots
from anyseek.search.upkeep.verify import broken_assets

logger = logging.getLogger(__name__)

# Reads and embeds items again from their originals; returns them by key, without items whose originals are gone.
Remake = Callable[[Sequence[Item]], Mapping[str, NewItem]]

REMAKE_BATCH = 64


def rebuild(database: Database, settings: Settings, name: str, remake: Remake | None = None) -> list[str]:
    """Rebuild the collection's index from its log, and repair the log.

    A vector that is damaged in the log is restored from the index if possible, and otherwise made again with `remake`,
    as are lost vectors and stored files. Returns the keys of items for which that failed, or whose rows are damaged;
    queries omit them until the next run of `anyseek index` over their folder. Waits for a process that is writing
    snapshots. Raises `StoreCorrupt` if a space cannot be repaired.
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
            checks.repair(session, head, [*damaged, *lost])
        failed = lost if remake is None else _remake(database, name, lost, remake)
        _repair_centres(database, lease, head)
        for space in head.spaces:
            backend.open(head, space).clear()
        refresh_snapshots(database, lease, head, backend.open, minimum_tail=1)
    open_assets(settings).remove_unreferenced(referenced)
    return sorted({*damaged, *failed})


def _lost_items(database: Database, settings: Settings, head: Head) -> tuple[list[str], list[str]]:
    """Keys of items whose rows are damaged, and of others whose vectors or stored files are lost."""
    lost = {item.key for item, _ in broken_assets(database, open_assets(settings), head.name)}
    with database.read() as session:
        damaged = {item.key for item in checks.damaged_items(session, head)}
        for space in head.spaces:
            lost.update(key for key, _ in checks.faulty_vectors(session, head, space))
    return sorted(damaged), sorted(lost - damaged)


def _repair_centres(database: Database, lease: SnapshotLease, head: Head) -> None:
    """Recompute damaged means of spaces. Raises `StoreCorrupt` if there are too few vectors for one."""
    with database.read() as session:
        damaged = collections.damaged_spaces(session, head.id)
    for space in head.spaces:
        if space.name in damaged and not freeze_centre(database, lease, head, space, needed=MIN_CENTRE_VECTORS):
            raise StoreCorrupt(
                f"the space {space.name!r} of {head.name} is damaged and has too few vectors to be mended; restore a "
                f"backup, or give the items vectors again: anyseek collections reembed {head.name} --model {head.model}"
            )


def _remake(database: Database, name: str, lost: Sequence[str], remake: Remake) -> list[str]:
    """Make items again and write them; return the keys for which `remake` failed."""
    failed: list[str] = []
    for keys in chunks(lost, REMAKE_BATCH):
        with database.read() as session:
            collection = collections.get(session, name)
            existing = items.by_keys(session, collection, keys)
        remade = remake(list(existing.values()))
        with database.write() as session:
            hashes = items.content_hashes(session, collection, keys)  # empty until somebody else writes the item
            unchanged = [new for key, new in remade.items() if hashes.get(key, ("gone", None))[0] == ""]
            new_items = [
                replace(
                    new, vectors={name: new.vectors[name] for name in new.vectors.keys() & collection.spaces.keys()}
                )
                for new in unchanged
            ]
            items.write(session, collection, new_items)
        failed += [key for key in existing if key not in remade]
    return failed


def salvage(database: Database, head: Head, open_space: OpenSpace) -> int:
    """Replace damaged vectors of the log by those of the index; return how many.

    The index has them only if its snapshot was written before the damage. They equal the logged ones up to rounding,
    because an index stores centred vectors. Vectors that it does not have stay damaged.
    """
    salvaged = 0
    for space in head.spaces:
        with database.read() as session:
            damaged = checks.damaged_vectors(session, head, space)
        if not damaged:
            continue
        try:
            ids, vectors = _indexed_vectors(head, space, open_space, damaged)
        except AnyseekError as error:
            logger.warning("nothing is taken from the index of space %s: %s", space.name, error)
            continue
        with database.write() as session:
            salvaged += _append_to_log(session, head, space, dict(zip(ids.tolist(), vectors, strict=True)))
    return salvaged


def uncentre(
    vectors: FloatArray, mean: FloatArray, blocks: Sequence[int] = ()
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """The inverse of `anyseek.search.spaces.base.centre` for raw unit vectors: a mask of invertible rows, and the rows.

    A raw block is its mean plus a multiple of its centred direction, which follows from the length that centring kept.
    A row is not invertible if one of its blocks is shorter than the mean, or has no direction.
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


def _indexed_vectors(
    head: Head, space: SpaceHead, open_space: OpenSpace, ids: Sequence[int]
) -> tuple[IdArray, FloatArray]:
    """Those of `ids` that the index has, and their raw vectors."""
    live = open_space(head, space)
    live.refresh(head)
    with live.open_view() as view:
        indexed, centred = view.vectors(np.array(sorted(ids), np.int64))
        sound, raw = uncentre(centred, view.centre, space.blocks)
    return indexed[sound], raw[sound]


def _append_to_log(session: Session, head: Head, space: SpaceHead, vectors: dict[int, FloatArray]) -> int:
    """Append the vectors of items whose vector in the log is still damaged; return how many."""
    last_seq = collections.lock(session, collections.get(session, head.name))
    damaged = items.by_ids(session, checks.damaged_vectors(session, head, space, list(vectors)))
    entries = [
        NewEntry(log.UPSERT, item.id, item.revision, space.id, space.fingerprint, vectors[item.id])
        for item in damaged.values()
    ]
    log.append(session, head.id, last_seq, entries)
    return len(entries)
