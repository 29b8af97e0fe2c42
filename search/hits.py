"""Which of the items that were found become hits: a page of them, or the best of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.types import GroupValue, Query

Scores = list[tuple[int, float]]  # item ids with their scores, best first


@dataclass(frozen=True)
class Chosen:
    """An item that becomes a hit unless it is damaged. `rank` is that of its group where there are groups."""

    item_id: int
    score: float
    rank: int
    group: GroupValue | None = None


def page(scores: Scores, query: Query) -> list[Chosen]:
    """The hits of a query without groups."""
    wanted = enumerate(scores[query.offset : query.reach], query.offset + 1)
    return [Chosen(item_id, score, rank) for rank, (item_id, score) in wanted if _is_good(score, query)]


def groups(scores: Scores, values: Mapping[int, Sequence[GroupValue]], query: Query) -> tuple[list[Chosen], bool]:
    """The best items of the best groups, group by group, and whether further scores would change nothing.

    Groups are ordered by their best item; an item with several `values` is in the group of each, one without in none.
    """
    size = query.group_size
    # By type, too, because 1 and true are equal in Python.
    found: dict[tuple[type, GroupValue], list[tuple[int, float]]] = {}
    ended = False
    for item_id, score in scores:
        if not _is_good(score, query):
            ended = True
            break
        for value in values.get(item_id, ()):
            group = type(value), value
            if group not in found and len(found) < query.reach:
                found[group] = []
            if len(found.get(group, [None] * size)) < size:
                found[group].append((item_id, score))
    full = len(found) == query.reach and all(len(members) == size for members in found.values())
    wanted = list(enumerate(found.items(), 1))[query.offset :]
    chosen = [
        Chosen(item_id, score, rank, value) for rank, ((_, value), members) in wanted for item_id, score in members
    ]
    return chosen, full or ended


def _is_good(score: float, query: Query) -> bool:
    return query.min_score is None or score >= query.min_score
