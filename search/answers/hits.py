"""Which of the items that were found become hits: a page of them, or the best of each group."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from anyseek.search.types import GroupValue, Query

Scores = list[tuple[int, float]]  # item ids with their scores, best first


class Chosen(NamedTuple):
    """An item that becomes a hit unless it is damaged. `rank` is that of its group where there are groups."""

    item_id: int
    score: float
    rank: int
    group: GroupValue | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Seen:
    """What was given on the pages before: ids of items, or of groups the hashes of their values."""

    items: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.items) + len(self.groups)

    def with_chosen(self, chosen: Sequence[Chosen], in_groups: bool) -> "Seen":
        """This and a further page."""
        if in_groups:
            return Seen(groups=self.groups | {group_hash(one.group) for one in chosen if one.group is not None})
        return Seen(items=self.items | {one.item_id for one in chosen})


NOTHING_SEEN = Seen()


def group_hash(value: GroupValue) -> int:
    """A number of 64 bits for the value of a group; by type, too, because 1 and true are equal in Python."""
    named = f"{type(value).__name__} {value}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Found:
    """What a query found, best first, with the probability of each item; none where nothing can be said.

    If the highest is below `nothing_below`, nothing good was found.
    """

    scores: Scores
    likely: Mapping[int, float]
    nothing_below: float = 0.0

    @property
    def best(self) -> float | None:
        """The highest probability."""
        return self.likely.get(self.scores[0][0]) if self.scores else None


def page(found: Found, query: Query, seen: Seen = NOTHING_SEEN) -> list[Chosen]:
    """The hits of a query without groups. Where there is something `seen`, `query.offset` is how much."""
    left = [one for one in found.scores if one[0] not in seen.items] if seen else found.scores[query.offset :]
    wanted = enumerate(left[: query.k], query.offset + 1)
    return [
        Chosen(item_id, score, rank, probability=found.likely.get(item_id))
        for rank, (item_id, score) in wanted
        if _is_good(item_id, score, found, query)
    ]


def groups(
    ranked: Found, values: Mapping[int, Sequence[GroupValue]], query: Query, seen: Seen = NOTHING_SEEN
) -> tuple[list[Chosen], bool]:
    """The best items of the best groups, group by group, and whether further scores would change nothing.

    Groups are ordered by their best item; an item with several `values` is in the group of each, one without in none.
    """
    size = query.group_size
    skipped, most = (0, query.k) if seen else (query.offset, query.reach)
    # By type, too, because 1 and true are equal in Python.
    found: dict[tuple[type, GroupValue], list[tuple[int, float]]] = {}
    ended = False
    for item_id, score in ranked.scores:
        if not _is_good(item_id, score, ranked, query):
            ended = True
            break
        for value in values.get(item_id, ()):
            group = type(value), value
            if group not in found and len(found) < most and not (seen and group_hash(value) in seen.groups):
                found[group] = []
            if len(found.get(group, [None] * size)) < size:
                found[group].append((item_id, score))
    full = len(found) == most and all(len(members) == size for members in found.values())
    wanted = enumerate(list(found.items())[skipped:], query.offset + 1)
    chosen = [
        Chosen(item_id, score, rank, value, ranked.likely.get(item_id))
        for rank, ((_, value), members) in wanted
        for item_id, score in members
    ]
    return chosen, full or ended


def _is_good(item_id: int, score: float, found: Found, query: Query) -> bool:
    """What words alone find has no probability, and is never too unlikely."""
    if query.min_score is not None and score < query.min_score:
        return False
    return query.min_probability is None or found.likely.get(item_id, 1.0) >= query.min_probability
