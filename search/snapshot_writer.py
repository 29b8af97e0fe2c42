"""Keeping a collection's snapshots, centres and log in order: one process at a time, by a lease that dies with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from search import snapshots
from search.catalogue import collections, log
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.session import Database
from search.locks import FileLock
from search.settings import Settings
from search.space_index import SpaceIndex

# A collection has its own mean from this size on, and takes a new one whenever it has doubled.
CENTRE_FROM = 64

OpenSpace = Callable[[Head, SpaceHead], SpaceIndex]


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    return settings.indexes / str(collection_id) / str(space_id)


def lease(settings: Settings, collection_id: int) -> FileLock:
    """What a process holds while it writes snapshots of the collection or compacts its log."""
    return FileLock(settings.locks / f"snapshots-{collection_id}")


def write_snapshots(
    database: Database, settings: Settings, name: str, open_space: OpenSpace, minimum_tail: int = 1
) -> bool:
    """Freeze centres that are due, write snapshots, prune old ones and compact the log below the oldest kept.

    A space gets a snapshot when at least `minimum_tail` entries came since its last one, or its centre moved.
    Returns False, with nothing done, if another process is at it. Raises `CollectionNotFound`.
    """
    with database.read() as session:
        head = collections.head(session, name)
    held = lease(settings, head.id)
    if not held.try_acquire():
        return False
    try:
        refresh_snapshots(database, settings, head, open_space, minimum_tail)
    finally:
        held.release()
    return True


def refresh_snapshots(
    database: Database, settings: Settings, head: Head, open_space: OpenSpace, minimum_tail: int
) -> None:
    """The work of `write_snapshots`, for callers that hold the lease."""
    for space in head.spaces:
        _freeze_centre(database, head, space)
    with database.read() as session:
        head = collections.head_by_id(session, head.id)
    oldest = [_save(settings, head, space, open_space, minimum_tail) for space in head.spaces]
    if min(oldest) > head.compacted_seq:
        with database.write() as session:
            log.compact(session, head.id, min(oldest))


def _freeze_centre(database: Database, head: Head, space: SpaceHead) -> None:
    """Centre the space on the mean of its own raw vectors, if there are enough of them.

    A space whose prior is zero is one where centring does not help, and stays as it is.
    """
    needed = max(CENTRE_FROM, 2 * space.centre_count)
    total, count = np.zeros(space.dimension), 0
    with database.read() as session:
        if collections.count(session, head.id) < needed or not collections.centre_of(session, space.id).any():
            return
        for page in log.latest_vectors(session, head.id, space.id):
            vectors = page.of(space.fingerprint, space.dimension)[1]
            total += vectors.sum(0, dtype=np.float64)
            count += len(vectors)
    if count >= needed:
        with database.write() as session:
            collections.freeze_centre(session, space.id, (total / count).astype(np.float32), count)


def _save(settings: Settings, head: Head, space: SpaceHead, open_space: OpenSpace, minimum_tail: int) -> int:
    """Write a snapshot if one is due; return the number up to which the oldest one kept has the log."""
    folder = space_folder(settings, head.id, space.id)
    held = snapshots.listed(folder)
    seq, version = snapshots.stands_at(held[-1]) if held else (0, space.centre_version)
    if head.last_seq - seq >= minimum_tail or version != space.centre_version:
        index = open_space(head, space)
        index.refresh(head)
        index.save()
    snapshots.prune(folder)
    kept = snapshots.listed(folder)
    return snapshots.stands_at(kept[0])[0] if kept else 0
