"""Keeping a collection's snapshots, centres and log in order: one process at a time, by a lease that dies with it."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from search.catalogue import collections, log
from search.catalogue.collections import Head, SpaceHead, SpaceState
from search.catalogue.session import Database
from search.errors import LeaseLost
from search.live_space import LiveSpace
from search.settings import Settings
from search.snapshot_lease import SnapshotLease

logger = logging.getLogger(__name__)

# A collection has its own mean from this size on, and takes a new one whenever it has doubled.
CENTRE_FROM = 64

OpenSpace = Callable[[Head, SpaceHead], LiveSpace]


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    return settings.indexes / str(collection_id) / str(space_id)


def write_snapshots(
    database: Database, settings: Settings, name: str, open_space: OpenSpace, minimum_tail: int = 1
) -> bool:
    """Freeze centres that are due, build better indexes, write snapshots, prune old ones and compact the log below.

    A space gets a snapshot when at least `minimum_tail` entries came since its last one (of large ones more, see
    `SpaceIndex.keep`), its centre moved, or its index is worn. Returns False if another process is at it, or came to be
    since this one was silent for too long; then only what that has built is taken over. Raises `CollectionNotFound`.
    """
    with database.read() as session:
        head = collections.head(session, name)
    lease = SnapshotLease(database, settings, head.id)
    if not lease.try_acquire():
        for space in head.spaces:
            open_space(head, space).adopt()
        return False
    try:
        with _overtaken(name):
            refresh_snapshots(database, lease, head, open_space, minimum_tail)
            return True
    finally:
        lease.release()
    return False


def refresh_snapshots(
    database: Database, lease: SnapshotLease, head: Head, open_space: OpenSpace, minimum_tail: int
) -> None:
    """The work of `write_snapshots`, for callers that hold the lease. Raises `LeaseLost`."""
    for space in head.spaces:
        _freeze_centre(database, lease, head, space)
    with database.read() as session:
        head = collections.head_by_id(session, head.id)
    oldest = [open_space(head, space).keep(head, minimum_tail) for space in head.spaces]
    if min(oldest) > head.compacted_seq:
        with database.write() as session:
            log.compact(session, head.id, min(oldest))
            lease.check(session)


def prepare_beside(database: Database, settings: Settings, head: Head, open_space: OpenSpace) -> None:
    """Freeze centres and write snapshots of spaces that are being built, so that they serve at once after a switch.

    Waits for a process that writes snapshots now. If this one is silent for too long meanwhile, they come later.
    """
    growing = [space for space in head.beside if space.state != SpaceState.KEPT]
    with SnapshotLease(database, settings, head.id) as lease, _overtaken(head.name):
        for space in growing:
            _freeze_centre(database, lease, head, space)
        with database.read() as session:
            head = collections.head_by_id(session, head.id)
        for space in head.beside:
            if space.id in {one.id for one in growing}:
                open_space(head, space).keep(head, log.PAGE)


def remove_unknown(database: Database, settings: Settings, collection_id: int) -> None:
    """Remove what is on the disk of spaces that are no longer the collection's."""
    with SnapshotLease(database, settings, collection_id):
        with database.read() as session:
            head = collections.head_by_id(session, collection_id)
        known = {str(space.id) for space in (*head.spaces, *head.beside)}
        for folder in (settings.indexes / str(collection_id)).glob("*"):
            if folder.name not in known:
                shutil.rmtree(folder)


@contextmanager
def _overtaken(name: str) -> Iterator[None]:
    """Who has the lease now does what is left."""
    try:
        yield
    except LeaseLost as error:
        logger.warning("no snapshots of %s by this process: %s", name, error)


def _freeze_centre(database: Database, lease: SnapshotLease, head: Head, space: SpaceHead) -> None:
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
            lease.check(session)
