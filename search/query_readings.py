"""The readings of an answered query: its best items with their vectors, as they were searched."""

from dataclasses import dataclass, replace

from anyseek.model.seam import Embedder
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.explanation import Reading
from anyseek.search.hits import Found, page
from anyseek.search.queries import ITEMS_ARE, home_of
from anyseek.search.query_vectors import raw_vectors
from anyseek.search.rankings import Asked
from anyseek.search.readings import DEPTH, readings
from anyseek.search.spaces.base import OpenSpace, centre

_MOST = 1_000  # hits that are grouped


@dataclass(frozen=True)
class Reader:
    """Groups what queries found. `live_space` opens a space of a collection."""

    database: Database
    embedder: Embedder
    live_space: OpenSpace

    def read(self, head: Head, asked: Asked, found: Found) -> tuple[Reading, ...]:
        """The readings of the best hits from the first one on, a thousand at most, whatever page is asked for.

        They are made in the space of the first ranking, or where pictures are at home if words alone are asked for.
        Items that are damaged, or whose vectors are, are left out.
        """
        space = self._space(head, asked)
        best = replace(asked.query, offset=0, k=max(DEPTH, min(asked.query.reach, _MOST)))
        ids = [one.item_id for one in page(found, best)]
        with self.database.read() as session:
            now = collections.head_by_id(session, head.id)
            held, vectors = items.by_ids(session, ids), raw_vectors(session, now, space, ids)
        live = self.live_space(now, space)
        live.refresh(now)
        with live.reading() as view:
            mean = view.centre.copy()
        rows = {item_id: centre(vector[None], mean, space.blocks)[0] for item_id, vector in vectors.items()}
        sound = [held[item_id] for item_id in ids if item_id in held and not held[item_id].damaged]
        return readings(self.embedder, space.name, sound, rows)

    def _space(self, head: Head, asked: Asked) -> SpaceHead:
        if asked.rankings:
            return asked.rankings[0].space
        return home_of(ITEMS_ARE, head, self.embedder)
