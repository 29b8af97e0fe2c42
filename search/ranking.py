"""Which of the items that were found become hits: a page of them, or the best of each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.queries import Plan
from search.types import GroupValue

# The constant of Cormack, Clarke and Büttcher (2009): the larger, the less the first ranks count.
_SMOOTHING = 60

Scores = list[tuple[int, float]]  # item ids with their scores, best first


@dataclass(frozen=True)
class Chosen:
    """An item that becomes a hit unless it is damaged. `rank` is that of its group where there are groups."""

    item_id: int
    score: float
    rank: int
    group: GroupValue | None = None


def fused(found: Sequence[tuple[float, Sequence[tuple[int, int]]]]) -> Scores:
    """Lists of (item id, rank), each with its weight, fused by reciprocal rank: 1 for what comes first in all.

    Those of equal score are ordered by id.
    """
    scores: dict[int, float] = {}
    for weight, ranked in found:
        for item_id, rank in ranked:
            scores[item_id] = scores.get(item_id, 0.0) + weight / (_SMOOTHING + rank)
    highest = sum(weight for weight, _ in found) / (_SMOOTHING + 1)
    order = sorted(scores.items(), key=lambda item: (-round(item[1], 12), item[0]))
    return [(item_id, score / highest) for item_id, score in order]


def page(scores: Scores, planned: Plan) -> list[Chosen]:
    """The hits of a query without groups."""
    wanted = enumerate(scores[planned.offset : planned.reach], planned.offset + 1)
    return [Chosen(item_id, score, rank) for rank, (item_id, score) in wanted if _is_good(score, planned)]


def groups(scores: Scores, values: Mapping[int, Sequence[GroupValue]], planned: Plan) -> tuple[list[Chosen], bool]:
    """The best items of the best groups, group by group, and whether further scores would change nothing.

    Groups are ordered by their best item; an item with several `values` is in the group of each, one without in none.
    """
    size = planned.group_size
    # By type, too, because 1 and true are equal in Python.
    found: dict[tuple[type, GroupValue], list[tuple[int, float]]] = {}
    ended = False
    for item_id, score in scores:
        if not _is_good(score, planned):
            ended = True
            break
        for value in values.get(item_id, ()):
            group = type(value), value
            if group not in found and len(found) < planned.reach:
                found[group] = []
            if len(found.get(group, [None] * size)) < size:
                found[group].append((item_id, score))
    full = len(found) == planned.reach and all(len(members) == size for members in found.values())
    wanted = list(enumerate(found.items(), 1))[planned.offset :]
    chosen = [
        Chosen(item_id, score, rank, value) for rank, ((_, value), members) in wanted for item_id, score in members
    ]
    return chosen, full or ended


def _is_good(score: float, planned: Plan) -> bool:
    return planned.min_score is None or score >= planned.min_score
