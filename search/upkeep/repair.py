"""Vectors that are damaged in the log, taken from where a sound copy is: the index, which has its own checksums."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import checks, collections, items, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError
from anyseek.search.spaces.base import NO_DIRECTION, OpenSpace
from anyseek.search.types import IdArray

logger = logging.getLogger(__name__)


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
        part /= np.maximum(lengths, NO_DIRECTION)
        along = part @ centre[:, np.newaxis]
        beyond = lengths**2 - centre @ centre
        sound &= ((lengths > NO_DIRECTION) & (beyond > 0))[:, 0]
        part *= np.sqrt(along**2 + np.maximum(beyond, 0)) - along
        part += centre
    return sound, raw.astype(np.float32)


def _held(head: Head, space: SpaceHead, open_space: OpenSpace, ids: Sequence[int]) -> tuple[IdArray, FloatArray]:
    """The `ids` that the index holds, and their raw vectors."""
    live = open_space(head, space)
    live.refresh(head)
    with live.reading() as view:
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
