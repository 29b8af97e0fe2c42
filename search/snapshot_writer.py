"""Keeping a collection's snapshots, centres and log in order: one process at a time, by a lease that dies with it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from search.catalogue import collections, log
from search.catalogue.collections import Head, SpaceHead, SpaceState
from search.catalogue.session import Database
from search.live_space import LiveSpace
from search.locks import FileLock
from search.settings import Settings

# A collection has its own mean from this size on, and takes a new one whenever it has doubled.
CENTRE_FROM = 64

OpenSpace = Callable[[Head, SpaceHead], LiveSpace]


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    return settings.indexes / str(collection_id) / str(space_id)


def lease(settings: Settings, collection_id: int) -> FileLock:
    """What a process holds while it writes snapshots of the collection or compacts its log."""
    return FileLock(settings.locks / f"snapshots-{collection_id}")


def write_snapshots(
    database: Database, settings: Settings, name: str, open_space: OpenSpace, minimum_tail: int = 1
) -> bool:
    """Freeze centres that are due, build better indexes, write snapshots, prune old ones and compact the log below.

    A space gets a snapshot when at least `minimum_tail` entries came since its last one, its centre moved, or its
    index is worn. Returns False if another process is at it; then only what that has built is taken over.
    Raises `CollectionNotFound`.
    """
    with database.read() as session:
        head = collections.head(session, name)
    held = lease(settings, head.id)
    if not held.try_acquire():
        for space in head.spaces:
            open_space(head, space).adopt()
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
    oldest = [open_space(head, space).keep(head, minimum_tail) for space in head.spaces]
    if min(oldest) > head.compacted_seq:
        with database.write() as session:
            log.compact(session, head.id, min(oldest))


def prepare_beside(database: Database, settings: Settings, head: Head, open_space: OpenSpace) -> None:
    """Freeze centres and write snapshots of spaces that are being built, so that they serve at once after a switch.

    Waits for a process that writes snapshots now.
    """
    growing = [space for space in head.beside if space.state != SpaceState.KEPT]
    with lease(settings, head.id):
        for space in growing:
            _freeze_centre(database, head, space)
        with database.read() as session:
            head = collections.head_by_id(session, head.id)
        for space in head.beside:
            if space.id in {one.id for one in growing}:
                open_space(head, space).keep(head, log.PAGE)


def remove_unknown(database: Database, settings: Settings, collection_id: int) -> None:
    """Remove what is on the disk of spaces that are no longer the collection's."""
    with lease(settings, collection_id):
        with database.read() as session:
            head = collections.head_by_id(session, collection_id)
        known = {str(space.id) for space in (*head.spaces, *head.beside)}
        for folder in (settings.indexes / str(collection_id)).glob("*"):
            if folder.name not in known:
                shutil.rmtree(folder)


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
