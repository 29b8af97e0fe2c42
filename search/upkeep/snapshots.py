"""Upkeep of a collection's snapshots, centres and log, by one process at a time, which holds a lease."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.collections import Head, SpaceHead, SpaceState
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, OpenSpace
from anyseek.search.upkeep.snapshot_lease import SnapshotLease

logger = logging.getLogger(__name__)

# A collection has its own mean from this size on, and takes a new one whenever it has doubled.
CENTRE_FROM = 64


def write_snapshots(
    database: Database, settings: Settings, name: str, open_space: OpenSpace, minimum_tail: int = 1
) -> bool:
    """Freeze centres that are due, build better indexes, write snapshots, prune old ones and compact the log below.

    A space gets a snapshot when at least `minimum_tail` entries came since its last one (of large ones more, see
    `LocalSpace.keep`), its centre moved, or its index is worn. Returns False if another process does this, or has taken
    the lease because this one was silent for too long; then what that process built is loaded. Raises
    `CollectionNotFound`.
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
        _freeze_if_due(database, lease, head, space)
    with database.read() as session:
        head = collections.head_by_id(session, head.id)
    oldest = [open_space(head, space).keep(head, minimum_tail) for space in head.spaces]
    if min(oldest) > head.compacted_seq:
        with database.write() as session:
            log.compact(session, head.id, min(oldest))
            lease.check(session)


def prepare_switch(database: Database, settings: Settings, head: Head, open_space: OpenSpace) -> None:
    """Freeze centres and write snapshots of spaces that are being built, so that they serve at once after a switch.

    Waits for a process that is writing snapshots. If this process is silent for too long, they are written later.
    """
    growing = [space for space in head.beside if space.state != SpaceState.KEPT]
    with SnapshotLease(database, settings, head.id) as lease, _overtaken(head.name):
        for space in growing:
            _freeze_if_due(database, lease, head, space)
        with database.read() as session:
            head = collections.head_by_id(session, head.id)
        ids = {space.id for space in growing}
        for space in head.beside:
            if space.id in ids:
                open_space(head, space).keep(head, log.PAGE)


def remove_unknown(database: Database, settings: Settings, collection_id: int, backend: Backend) -> None:
    """Remove the backend's data of spaces that the collection no longer has.

    Waits for a process that is writing snapshots: it may be writing one of a space that has since been removed.
    """
    with SnapshotLease(database, settings, collection_id):
        backend.remove_unknown()


@contextmanager
def _overtaken(name: str) -> Iterator[None]:
    """Handle a lost lease: its new holder does the rest."""
    try:
        yield
    except LeaseLost as error:
        logger.warning("this process does not write snapshots of %s: %s", name, error)


def freeze_centre(database: Database, lease: SnapshotLease, head: Head, space: SpaceHead, needed: int) -> bool:
    """Centre the space on the mean of its own raw vectors; return False if it has fewer than `needed`."""
    total, count = np.zeros(space.dimension), 0
    with database.read() as session:
        for page in log.latest_vectors(session, head.id, space.id):
            vectors = page.of(space.fingerprint, space.dimension)[1]
            total += vectors.sum(0, dtype=np.float64)
            count += len(vectors)
    if count < needed:
        return False
    with database.write() as session:
        collections.freeze_centre(session, space.id, (total / count).astype(np.float32), count)
        lease.check(session)
    return True


def _freeze_if_due(database: Database, lease: SnapshotLease, head: Head, space: SpaceHead) -> None:
    """Centre the space anew if it has no mean of its own yet, or has doubled since.

    A zero prior means that centring does not help; such a space is left as it is.
    """
    needed = max(CENTRE_FROM, 2 * space.centre_count)
    with database.read() as session:
        if collections.count(session, head.id) < needed or not collections.centre_of(session, space.id).any():
            return
    freeze_centre(database, lease, head, space, needed)
