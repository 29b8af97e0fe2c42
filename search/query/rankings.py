"""Plans the rankings of a query and fuses them: parts whose default spaces differ have a ranking each.

Some spaces, such as the one of colours, know only some modalities, so no single vector says "love" and red. Each
ranking is of one space. Several are added by weight: a ranking gives its first item 1, and the others less, by rank and
standard score: (61 / (60 + rank) + 2 z / z of its first) / 3. The first term is reciprocal rank fusion (Cormack et al.
2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods"): items that are ahead in
several rankings come first, whatever their scores mean. It hardly separates the first items, which z does:
how far a score lies above those of other items (`anyseek.search.confidence.score_samples`), at least 0. Where z is not
known, the rank alone counts.

A clear colour beside other parts is a condition (`anyseek.search.query.conditions`): its ranking gives the square root
of z / z of its first, and nothing for rank. So it matters most whether an item has the colour, and hardly how much of
it: red tomatoes do not come before red cars. The ranking also has all items of the other rankings, and is by their
correlation with the colour, not the cosine: what an item's colours have beyond those of the collection.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import Embedder, Fusion
from anyseek.search.answers.paging import Pages, pages_of
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.confidence.score_samples import Float64Array, z_of_ranks
from anyseek.search.errors import BadQuery
from anyseek.search.filters.tree import Filter
from anyseek.search.query.conditions import clear_colour, with_colour_named
from anyseek.search.query.planning import (
    ITEM_MODALITY,
    Plan,
    check_parts,
    default_space_among,
    filter_of,
    named_space,
    plan_ranking,
    search_depth,
)
from anyseek.search.query.query import Part, Query
from anyseek.search.settings import Limits
from anyseek.search.types import IdArray

_NEGATIVE_WEIGHT = (
    0.5  # how much a ranking that lowers its items counts, beside one of the same weight that raises them
)
_ZERO_TOLERANCE = 1e-6  # a score that is 0 but for rounding
_CONDITION_POWER = 0.5  # from 0.25 to 0.7 each of four sources finds about as much
_DAMPING = 60  # of Cormack et al.: how little the first ranks differ
_Z_WEIGHT = 2  # how much z counts beside the rank; from 1 to 3 emoji and photos are found alike (docs/weights.md)


@dataclass(frozen=True)
class Ranking:
    """Items, best first: `ids` (n,) with `scores` float64 (n,) in [-1, 1] and `ranks` (n,) from 1, which some share.

    With a `weight` below 0 it lowers the items of rankings that it is added to. `z` (n,) are the standard scores of its
    items among `count`, None if there are too few. A ranking that is an answer by itself may have `probabilities` (n,);
    if the highest is below `nothing_good_threshold`, nothing good was found. One of a condition counts in another
    way.
    """

    ids: IdArray
    scores: Float64Array
    ranks: IdArray
    z: Float64Array | None = None
    count: int = 0
    weight: float = 1.0
    probabilities: Float64Array | None = None
    nothing_good_threshold: float = 0.0
    is_condition: bool = False

    @property
    def best_probability(self) -> float | None:
        """The highest probability."""
        return None if self.probabilities is None or not len(self.probabilities) else float(self.probabilities[0])

    def position_of(self, item_id: int) -> int | None:
        """The position of an item, from 0; None if it is not there."""
        found = np.flatnonzero(self.ids == item_id)
        return int(found[0]) if len(found) else None

    def contributions(self) -> Float64Array:
        """The unweighted contribution of each item, from 1 for the first to 0: (n,)."""
        by_ranks = rank_scores(self.ranks)
        highest = 0.0 if self.z is None else float(self.z.max(initial=0.0))
        if self.z is None or highest <= 0:
            return by_ranks
        z_share = self.z.clip(min=0.0) / highest
        if self.is_condition:
            return np.asarray(z_share**_CONDITION_POWER)
        contributions: Float64Array = (by_ranks + _Z_WEIGHT * z_share) / (1 + _Z_WEIGHT)
        return contributions


def ranking_of(ids: IdArray, scores: Float64Array, z: Float64Array | None = None, count: int = 0) -> Ranking:
    """A ranking whose items are in order."""
    return Ranking(ids, scores, np.arange(1, len(ids) + 1), z, count)


def ranking_of_words(rank_rows: Sequence[tuple[int, int]] | IdArray, weight: float) -> Ranking:
    """The ranking of what words find: ids with their ranks (n, 2)."""
    rows = np.asarray(rank_rows, np.int64).reshape(-1, 2)
    return Ranking(rows[:, 0], np.zeros(len(rows)), rows[:, 1], weight=weight)


def rank_scores(ranks: npt.ArrayLike) -> Float64Array:
    """The contributions of a ranking to the items at `ranks` by their places alone: 1 to the first."""
    return np.asarray((_DAMPING + 1) / (_DAMPING + np.asarray(ranks, np.float64)))


def fuse_rankings(rankings: Sequence[Ranking]) -> Ranking:
    """The weighted sum of rankings: scores in [-1, 1], 1 for what comes first in all that are wanted.

    Those of equal score are ordered by id. What a ranking with a negative weight finds is lowered where another has it.
    """
    wanted = [ranking for ranking in rankings if ranking.weight > 0]
    if not wanted:
        return ranking_of(np.empty(0, np.int64), np.empty(0))
    ids = np.unique(np.concatenate([ranking.ids for ranking in wanted]))
    totals = np.zeros(len(ids))
    for ranking in sorted(rankings, key=lambda ranking: -ranking.weight):
        places = np.searchsorted(ids, ranking.ids)
        inside = places < len(ids)
        inside[inside] = ids[places[inside]] == ranking.ids[inside]
        totals[places[inside]] += ranking.weight * ranking.contributions()[inside]
    order = np.lexsort((ids, -totals.round(12)))
    return ranking_of(ids[order], np.maximum(-1.0, totals[order] / _max_score(rankings)))


def score_contributions(rankings: Sequence[Ranking], item_id: int) -> list[float]:
    """The contribution of each ranking to the score of an item."""
    highest = _max_score(rankings)
    places = [ranking.position_of(item_id) for ranking in rankings]
    return [
        0.0 if place is None else float(ranking.weight * ranking.contributions()[place] / highest)
        for ranking, place in zip(rankings, places, strict=True)
    ]


def _max_score(rankings: Sequence[Ranking]) -> float:
    """The score of an item that is first in all wanted rankings."""
    return sum(ranking.weight for ranking in rankings if ranking.weight > 0)


@dataclass(frozen=True)
class PlannedQuery:
    """A checked query: its rankings with their weights, negative where an item should be unlike.

    `where` is the filter of all rankings and of words; the best `depth` items of each count. `fusion` is None for a
    query of one part. `vector_space` is the space of the vectors that hits carry. With a cursor, `query.offset` is the
    number of hits on the pages before.
    """

    query: Query
    rankings: tuple[Plan, ...]
    weights: tuple[float, ...]
    where: Filter | None
    depth: int
    fusion: Fusion | None
    vector_space: SpaceHead | None
    pages: Pages

    @property
    def is_one_ranking(self) -> bool:
        """Return whether scores are cosines, and further items can be asked for."""
        return len(self.rankings) == 1 and not self.query.words

    @property
    def space(self) -> str | None:
        """The space that answers; several are joined by `+`. None for words alone."""
        spaces = [ranking.space for ranking in self.rankings] or ([self.vector_space] if self.vector_space else [])
        return "+".join(dict.fromkeys(space.name for space in spaces)) or None

    def equal_scores_note(self, head: Head, ranking: Ranking) -> str | None:
        """That the space tells none of the items from another, as its scores are all 0, and which others there are."""
        if not self.is_one_ranking or len(ranking.ids) < 2:
            return None
        others = [space.name for space in head.spaces if space != self.rankings[0].space]
        if not others or np.abs(ranking.scores).max() > _ZERO_TOLERANCE:
            return None
        return (
            f"in the space {self.space!r} these items share nothing with the query, and stand in no order; "
            f"name another: {', '.join(others)}"
        )

    def merge(self, rankings: Sequence[Ranking], by_words: Sequence[Ranking]) -> Ranking:
        """The best items of the rankings of parts and of `query.words`, with their scores."""
        return rankings[0] if self.is_one_ranking else fuse_rankings(self.weighted_rankings(rankings, by_words))

    def weighted_rankings(self, rankings: Sequence[Ranking], by_words: Sequence[Ranking]) -> list[Ranking]:
        """The rankings with their weights, those of `query.words` last, and with standard scores unless the query has
        only words or the collection is too small.
        """
        count = max((ranking.count for ranking in rankings), default=0)
        if not rankings or any(ranking.z is None for ranking in rankings):
            rankings = [replace(ranking, z=None) for ranking in rankings]
        else:
            by_words = [replace(ranking, z=z_of_ranks(ranking.ranks, count)) for ranking in by_words]
        own = [replace(ranking, weight=weight) for weight, ranking in zip(self.weights, rankings, strict=True)]
        return [*own, *by_words]


def plan_query(query: Query, head: Head, embedder: Embedder, limits: Limits) -> PlannedQuery:
    """The rankings of a query. Raises `BadFilter`, `LimitExceeded`, and what `planning.plan_ranking` raises."""
    pages = pages_of(query, head.id, limits.hits)
    if pages.seen:
        query = replace(query, offset=len(pages.seen))
    parts = check_parts(query, embedder, limits)
    asked = _queries_by_space(query) if parts else ()
    groups = [(one, group) for one in asked for group in _part_groups(one, parts, head, embedder)]
    depth = search_depth(query, len(groups) + len(query.words), limits)
    are_added, where = len(groups) + len(query.words) > 1, filter_of(query)
    colour = _condition_among(query, [group for _, group in groups])
    named = [_with_condition(group, colour, embedder) for _, group in groups]
    upright = [_with_positive_weights(group) if are_added else group for group in named]
    by_group = [_query_of_group(space_query, group, parts) for space_query, group in groups]
    pairs = zip(by_group, upright, strict=True)
    plans = tuple(plan_ranking(each, group, head, embedder, where, depth) for each, group in pairs)
    if colour is not None:
        plans = tuple(replace(plan, is_condition=clear_colour(plan.parts) == colour) for plan in plans)
    if not are_added:
        plans = tuple(replace(plan, is_alone=True) for plan in plans)
    if not plans:
        for name in filter(None, (query.space, *query.spaces)):
            named_space(name, head)  # words need no space, but the named one must exist
    shares = max(1, len(query.spaces))  # so that words count as much relative to parts in several spaces
    weights = tuple(weight_of(group) / shares for _, group in groups)
    fusion = Fusion.RANKS if are_added else plans[0].fusion if len(parts) > 1 else None
    return PlannedQuery(query, plans, weights, where, depth, fusion, _vector_space(query, plans, head), pages)


def _condition_among(query: Query, groups: Sequence[Sequence[Part]]) -> str | None:
    """The clear colour that one of several wanted rankings asks for; None if spaces or a fusion are named."""
    wanted = sum(weight_of(group) > 0 for group in groups)
    if wanted < 2 or query.fusion or query.space or query.spaces:
        return None
    return next(filter(None, map(clear_colour, groups)), None)


def _with_condition(group: tuple[Part, ...], colour: str | None, embedder: Embedder) -> tuple[Part, ...]:
    """The parts of a ranking beside that of a colour. Two captions cannot be joined, so such models get no second."""
    return group if colour is None or embedder.fusion is Fusion.JOINT else with_colour_named(group, colour)


def _queries_by_space(query: Query) -> Iterator[Query]:
    """The query for each of its spaces."""
    if not query.spaces:
        yield query
    for name in query.spaces:
        yield replace(query, space=name, spaces=())


def _query_of_group(query: Query, group: Sequence[Part], parts: Sequence[Part]) -> Query:
    """The query of one ranking: without a fusion if its parts are only some of all, or each has its own ranking."""
    by_space = len(group) < sum(part.weight != 0 for part in parts) or query.fusion == "ranks"
    return replace(query, fusion=None) if by_space else query


def _vector_space(query: Query, plans: Sequence[Plan], head: Head) -> SpaceHead | None:
    """The space whose vectors the hits carry. Raises `BadQuery`, `SpaceNotFound`."""
    if not query.vectors:
        return None
    spaces = {ranking.space.name: ranking.space for ranking in plans}
    if len(spaces) > 1:
        raise BadQuery(f"the query asks in several spaces; for vectors, name one of them: {', '.join(sorted(spaces))}")
    if spaces:
        return next(iter(spaces.values()))
    return head.spaces[0] if query.space is None else named_space(query.space, head)


def _part_groups(query: Query, parts: tuple[Part, ...], head: Head, embedder: Embedder) -> Iterator[tuple[Part, ...]]:
    """The parts of each ranking: by default those of a space that knows few modalities apart from all others."""
    counted = tuple(part for part in parts if part.weight)
    joins = query.fusion in ("late", "joint") or (query.space is not None and query.fusion is None)
    if joins or len(counted) < 2 or not any(part.weight > 0 for part in parts):
        yield parts
    elif query.fusion == "ranks":
        yield from ((part,) for part in counted)
    else:
        by_space: Mapping[str | None, list[Part]] = defaultdict(list)
        for part in counted:
            by_space[_restricted_space(part, head, embedder)].append(part)
        yield from map(tuple, by_space.values())


def _restricted_space(part: Part, head: Head, embedder: Embedder) -> str | None:
    """The part's own space if that knows few modalities, else None."""
    modality = part.modality or ITEM_MODALITY
    if modality not in embedder.modalities:
        return None
    name = default_space_among({space.name for space in head.spaces}, modality, embedder)
    return name if name is not None and embedder.spaces[name].modalities is not None else None


def _with_positive_weights(group: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a ranking; if all weights are negative, with opposite weights, so that it ranks by similarity."""
    if any(part.weight > 0 for part in group):
        return group
    return tuple(replace(part, weight=-part.weight) for part in group)


def weight_of(group: Sequence[Part]) -> float:
    """The weight of the ranking of a group of parts; negative if it pushes away."""
    wanted = sum(part.weight for part in group if part.weight > 0)
    return wanted or _NEGATIVE_WEIGHT * sum(part.weight for part in group)
