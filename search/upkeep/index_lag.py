"""Lag of an installation's indexes behind its log: the entries that a process which starts now would have to read."""

from dataclasses import dataclass
from datetime import UTC, datetime

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.spaces.base import OpenSpace, Stored


@dataclass(frozen=True)
class Lag:
    """`entries`: the most log entries of a collection that no snapshot has (of Qdrant: that Qdrant lacks).

    `seconds`: the age of the oldest snapshot among the newest ones of collections with such entries; 0 if there is
    none.
    """

    collections: int
    entries: int
    seconds: float


def lag_of(database: Database, open_space: OpenSpace) -> Lag:
    """The lag of the worst collection. Reads a few rows of the catalogue for each collection, and lists its folder."""
    behind: list[tuple[int, Stored]] = []
    heads = _heads(database)
    for head in heads:
        stored = [open_space(head, space).stored() for space in head.spaces]
        if stored:
            least = min(stored, key=lambda found: found.seq)
            behind.append((max(0, head.last_seq - least.seq), least))
    late = [(entries, stored) for entries, stored in behind if entries]
    now = datetime.now(UTC)
    ages = [(now - stored.at).total_seconds() for _, stored in late if stored.at is not None]
    entries = max((entries for entries, _ in late), default=0)
    return Lag(len(heads), entries, max(ages, default=0.0))


def _heads(database: Database) -> list[Head]:
    with database.read() as session:
        return [collections.head_by_id(session, collection_id) for collection_id in sorted(collections.ids(session))]
