"""Samples of items that queries are compared with, held by space and drawn anew as a collection changes."""

from dataclasses import dataclass

import numpy as np

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.catalogue import listing
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.confidence.probabilities import SAMPLE, Background, background
from anyseek.search.query.vectors import raw_vectors

_STALE = 0.1  # entries of the log, beside the items that there were, after which another sample is drawn


@dataclass(frozen=True)
class _Held:
    collection: int
    seq: int
    sample: Background


class Backgrounds:
    """The samples of all collections that are asked. Safe for many threads: two may draw the same sample."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[int, _Held] = {}  # by the id of the space

    def get(self, head: Head, held: SpaceHead, space: EmbeddingSpace, mean: FloatArray, count: int) -> Background:
        """The sample of a space with `count` items, centred on `mean` (d,), on which its live space is centred."""
        before = self._held.get(held.id)
        if before is not None and _is_fresh(before, head, mean):
            return before.sample
        with self._database.read() as session:
            ids = listing.spread_ids(session, head.id, count, SAMPLE)
            found = raw_vectors(session, head, held, ids)
        rows = [found[item_id] for item_id in sorted(found)]
        raw = np.stack(rows) if rows else np.zeros((0, held.dimension), np.float32)
        ids_held = np.array(sorted(found), np.int64)
        sample = background(ids_held, raw, mean, space.gallery_prior, held.blocks, count)
        self._hold(head, held, _Held(head.id, head.last_seq, sample))
        return sample

    def _hold(self, head: Head, space: SpaceHead, drawn: _Held) -> None:
        """Keep a sample, and let go of those of spaces that the collection no longer has."""
        there = {each.id for each in head.spaces} | {space.id}
        kept = {key: held for key, held in self._held.items() if held.collection != head.id or key in there}
        self._held = {**kept, space.id: drawn}

    def forget(self) -> None:
        """Hold nothing more of deleted collections."""
        self._held = {}


def _is_fresh(before: _Held, head: Head, mean: FloatArray) -> bool:
    if head.last_seq - before.seq > _STALE * before.sample.count:
        return False
    return before.sample.mean is mean or np.array_equal(before.sample.mean, mean)  # mostly it is the very same
