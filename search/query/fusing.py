"""Adds the rankings of a query: what they give to an item, by weight.

A ranking gives its first item 1, and the others less by their ranks and by how far they stand out:
(61 / (60 + rank) + 2 z / z of its first) / 3. The first term is reciprocal rank fusion (Cormack et al. 2009,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods"): what several rankings have far
ahead belongs there, whatever their scores mean. It hardly tells the first items from each other, which z does: how far
a score lies above those of other items (`anyseek.search.confidence.probabilities`), at least 0. Where z is not known,
the rank alone counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyseek.search.answers.hits import Scores
from anyseek.search.confidence.probabilities import Standing

Ranked = Sequence[tuple[int, int]]  # item ids with their ranks from 1; several may have the same

_DAMPING = 60  # of Cormack et al.: how little the first ranks differ
_OUTSTANDING = 2  # how much z counts beside the rank; from 1 to 3 emoji and photos are found alike (docs/weights.md)


@dataclass(frozen=True)
class Weighted:
    """One of several rankings; with a `weight` below 0 it lowers what it finds.

    `standing` is None if the collection is too small to say how far its items stand out.
    """

    weight: float
    ranked: Ranked
    standing: Standing | None = None

    def shares(self) -> dict[int, float]:
        """What it gives to the items it found before it is weighted, from 1 for the first to 0."""
        by_ranks = {item_id: by_rank(rank) for item_id, rank in self.ranked}
        z = self._outstanding()
        if not z:
            return by_ranks
        return {
            item_id: (share + _OUTSTANDING * z.get(item_id, 0.0)) / (1 + _OUTSTANDING)
            for item_id, share in by_ranks.items()
        }

    def _outstanding(self) -> Mapping[int, float]:
        """z of items relative to the highest, 0 to 1; empty if it is not known or no item stands out."""
        highest = 0.0 if self.standing is None else float(self.standing.surprises.max(initial=0.0))
        if self.standing is None or highest <= 0:
            return {}
        relative = self.standing.surprises.clip(min=0.0) / highest
        return dict(zip(self.standing.ids.tolist(), relative.tolist(), strict=True))


def by_rank(rank: int) -> float:
    """What a ranking gives to the item at `rank` by its place alone: 1 to the first."""
    return (_DAMPING + 1) / (_DAMPING + rank)


def ranks_of(scores: Scores) -> list[tuple[int, int]]:
    """The items of scores, best first, with their ranks from 1."""
    return [(item_id, rank) for rank, (item_id, _) in enumerate(scores, 1)]


def fused(found: Sequence[Weighted]) -> Scores:
    """What rankings give to items, added by weight: scores in [-1, 1], 1 for what comes first in all that are wanted.

    Those of equal score are ordered by id. What a ranking with a negative weight finds is lowered where another has it.
    """
    scores: dict[int, float] = {}
    for ranking in sorted(found, key=lambda one: -one.weight):
        for item_id, share in ranking.shares().items():
            if ranking.weight > 0 or item_id in scores:
                scores[item_id] = scores.get(item_id, 0.0) + ranking.weight * share
    highest = _highest(found)
    order = sorted(scores.items(), key=lambda item: (-round(item[1], 12), item[0]))
    return [(item_id, max(-1.0, score / highest)) for item_id, score in order]


def parts_of_score(found: Sequence[Weighted], item_id: int) -> list[float]:
    """What each ranking adds to the score of an item."""
    highest = _highest(found)
    return [ranking.weight * ranking.shares().get(item_id, 0.0) / highest for ranking in found]


def _highest(found: Sequence[Weighted]) -> float:
    """What an item has that is first in all wanted rankings."""
    return sum(ranking.weight for ranking in found if ranking.weight > 0)
