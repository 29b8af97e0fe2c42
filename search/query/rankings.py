"""A query as one ranking or several: parts that are at home in different spaces are searched for apart and added.

A space such as that of colours knows some modalities alone, so no one vector says "love" and red. Each ranking is of
one space. Several are added by weight: a ranking gives its first item 1, and the others less by their ranks and by how
far they stand out, (61 / (60 + rank) + 2 z / z of its first) / 3. The first term is reciprocal rank fusion (Cormack et
al. 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods"): what several rankings
have far ahead belongs there, whatever their scores mean. It hardly tells the first items from each other, which z does:
how far a score lies above those of other items (`anyseek.search.confidence.probabilities`), at least 0. Where z is not
known, the rank alone counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import Embedder, FloatArray, Fusion
from anyseek.search.answers.paging import Pages, pages_of
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.confidence.probabilities import (
    Background,
    Numbers,
    Standing,
    curve_of,
    nothing_good_below,
    probabilities,
    sort_of,
    standing,
    standing_of_words,
    together,
)
from anyseek.search.errors import AnyseekError, BadQuery
from anyseek.search.filters.tree import Filter
from anyseek.search.query.planning import (
    ITEMS_ARE,
    Plan,
    checked_parts,
    default_among,
    depth_of,
    named_space,
    plan,
    where_of,
)
from anyseek.search.query.query import WORDS, Part, Query
from anyseek.search.query.vectors import ItemVectors, Place, ValueVectors, fuse_parts
from anyseek.search.settings import Limits
from anyseek.search.spaces.base import View
from anyseek.search.types import IdArray

_UNLIKE = 0.5  # how much a ranking that lowers its items counts, beside one of the same weight that raises them
_NOTHING = 1e-6  # a score that is 0 but for rounding
_DAMPING = 60  # of Cormack et al.: how little the first ranks differ
_OUTSTANDING = 2  # how much z counts beside the rank; from 1 to 3 emoji and photos are found alike (docs/weights.md)


@dataclass(frozen=True)
class Ranking:
    """Items, best first: `ids` (n,) with `scores` float64 (n,) in [-1, 1] and `ranks` (n,) from 1, which some share.

    With a `weight` below 0 it lowers the items of rankings that it is added to. `standing` says how far its items stand
    out among `count`; None where there are too few to say. An answer's has probabilities, `likely` (n,), where they are
    known; if the highest is below `nothing_below`, nothing good was found.
    """

    ids: IdArray
    scores: Numbers
    ranks: IdArray
    standing: Standing | None = None
    count: int = 0
    weight: float = 1.0
    likely: Numbers | None = None
    nothing_below: float = 0.0

    @property
    def best(self) -> float | None:
        """The highest probability."""
        return None if self.likely is None or not len(self.likely) else float(self.likely[0])

    def place(self, item_id: int) -> int | None:
        """The position of an item, from 0; None if it is not there."""
        found = np.flatnonzero(self.ids == item_id)
        return int(found[0]) if len(found) else None

    def shares(self) -> Numbers:
        """The unweighted contribution of each item, from 1 for the first to 0: (n,)."""
        by_ranks = by_rank(self.ranks)
        highest = 0.0 if self.standing is None else float(self.standing.surprises.max(initial=0.0))
        if self.standing is None or highest <= 0:
            return by_ranks
        outstanding = self.standing.surprises.clip(min=0.0) / highest
        shares: Numbers = (by_ranks + _OUTSTANDING * outstanding) / (1 + _OUTSTANDING)
        return shares


def ranking_of(ids: IdArray, scores: Numbers, standing: Standing | None = None, count: int = 0) -> Ranking:
    """A ranking whose items are in order."""
    return Ranking(ids, scores, np.arange(1, len(ids) + 1), standing, count)


def ranking_of_words(ranked: Sequence[tuple[int, int]] | IdArray, weight: float) -> Ranking:
    """The ranking of what words find: ids with their ranks (n, 2)."""
    found = np.asarray(ranked, np.int64).reshape(-1, 2)
    return Ranking(found[:, 0], np.zeros(len(found)), found[:, 1], weight=weight)


def by_rank(ranks: npt.ArrayLike) -> Numbers:
    """The contributions of a ranking to the items at `ranks` by their places alone: 1 to the first."""
    return np.asarray((_DAMPING + 1) / (_DAMPING + np.asarray(ranks, np.float64)))


def fused(rankings: Sequence[Ranking]) -> Ranking:
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
        totals[places[inside]] += ranking.weight * ranking.shares()[inside]
    order = np.lexsort((ids, -totals.round(12)))
    return ranking_of(ids[order], np.maximum(-1.0, totals[order] / _highest(rankings)))


def parts_of_score(rankings: Sequence[Ranking], item_id: int) -> list[float]:
    """The contribution of each ranking to the score of an item."""
    highest = _highest(rankings)
    places = [ranking.place(item_id) for ranking in rankings]
    return [
        0.0 if place is None else float(ranking.weight * ranking.shares()[place] / highest)
        for ranking, place in zip(rankings, places, strict=True)
    ]


def _highest(rankings: Sequence[Ranking]) -> float:
    """The score of an item that is first in all wanted rankings."""
    return sum(ranking.weight for ranking in rankings if ranking.weight > 0)


@dataclass(frozen=True)
class PlannedQuery:
    """A checked query: its rankings with their weights, negative where an item should be unlike.

    `where` is the filter of all rankings and of words, of which the best `depth` items count. `fusion` is None for a
    query of one part. `vectors_of` is the space whose vectors the query asks for. `query.offset` counts the hits on the
    pages before, where its cursor names some.
    """

    query: Query
    rankings: tuple[Plan, ...]
    weights: tuple[float, ...]
    where: Filter | None
    depth: int
    fusion: Fusion | None
    vectors_of: SpaceHead | None
    pages: Pages

    @property
    def is_one_ranking(self) -> bool:
        """Return whether scores are cosines, and further items can be asked for."""
        return len(self.rankings) == 1 and not self.query.words

    @property
    def space(self) -> str | None:
        """The space that answers; several are joined by `+`. None for words alone."""
        spaces = [ranking.space for ranking in self.rankings] or ([self.vectors_of] if self.vectors_of else [])
        return "+".join(dict.fromkeys(space.name for space in spaces)) or None

    def sameness_note(self, head: Head, found: Ranking) -> str | None:
        """That the space tells none of the items from another, as its scores are all 0, and which others there are."""
        if not self.is_one_ranking or len(found.ids) < 2:
            return None
        others = [space.name for space in head.spaces if space != self.rankings[0].space]
        if not others or np.abs(found.scores).max() > _NOTHING:
            return None
        return (
            f"in the space {self.space!r} these items share nothing with the query, and stand in no order; "
            f"name another: {', '.join(others)}"
        )

    def merged(self, found: Sequence[Ranking], by_words: Sequence[Ranking]) -> Ranking:
        """The best items of all rankings, those of `query.words` among them, with their scores and probabilities."""
        weighted = self.weighted(found, by_words)
        answer = found[0] if self.is_one_ranking else fused(weighted)
        standings = [ranking.standing for ranking in weighted if ranking.standing is not None]
        if not standings:
            return answer
        whole = together(standings, [ranking.weight for ranking in weighted])
        modalities = {part.modality or ITEMS_ARE for ranking in self.rankings for part in ranking.parts}
        modalities |= {WORDS} if self.query.words else set()
        curve = curve_of(sort_of(modalities, len(weighted)))
        likely = np.array(probabilities(whole, answer.ids.tolist(), curve))
        return replace(answer, likely=likely, nothing_below=nothing_good_below(whole, modalities))

    def weighted(self, found: Sequence[Ranking], by_words: Sequence[Ranking]) -> list[Ranking]:
        """The rankings with their weights, those of `query.words` last. They have no standing if words alone were
        looked for, or if the collection is too small.
        """
        count = max((ranking.count for ranking in found), default=0)
        if not found or any(ranking.standing is None for ranking in found):
            found = [replace(ranking, standing=None) for ranking in found]
        else:
            stand = [standing_of_words(ranking.ids, ranking.ranks, count) for ranking in by_words]
            by_words = [replace(ranking, standing=each) for ranking, each in zip(by_words, stand, strict=True)]
        own = [replace(ranking, weight=weight) for weight, ranking in zip(self.weights, found, strict=True)]
        return [*own, *by_words]


def plan_query(query: Query, head: Head, embedder: Embedder, limits: Limits) -> PlannedQuery:
    """The rankings of a query. Raises `BadFilter`, `LimitExceeded`, and what `planning.plan` raises."""
    pages = pages_of(query, head.id, limits.hits)
    if pages.seen:
        query = replace(query, offset=len(pages.seen))
    parts = checked_parts(query, embedder, limits)
    groups = [(one, group) for one in _in_spaces(query) for group in _groups(one, parts, head, embedder) if parts]
    depth = depth_of(query, len(groups) + len(query.words), limits)
    are_added, where = len(groups) + len(query.words) > 1, where_of(query)
    plans = tuple(
        plan(_of_group(one, group, parts), _upright(group) if are_added else group, head, embedder, where, depth)
        for one, group in groups
    )
    if not plans:
        for name in filter(None, (query.space, *query.spaces)):
            named_space(name, head)  # words need none, but what is asked for must be there
    shares = max(1, len(query.spaces))  # so that words count as much beside parts asked in several spaces
    weights = tuple(weight_of(group) / shares for _, group in groups)
    fusion = Fusion.RANKS if are_added else plans[0].fusion if len(parts) > 1 else None
    return PlannedQuery(query, plans, weights, where, depth, fusion, _vectors_of(query, plans, head), pages)


def _in_spaces(query: Query) -> Iterator[Query]:
    """The query as it is asked in each of its spaces."""
    if not query.spaces:
        yield query
    for name in query.spaces:
        yield replace(query, space=name, spaces=())


def _of_group(query: Query, group: Sequence[Part], parts: Sequence[Part]) -> Query:
    """The query of one ranking: its parts have no fusion where they are only some of all, or each asks alone."""
    apart = len(group) < sum(part.weight != 0 for part in parts) or query.fusion == "ranks"
    return replace(query, fusion=None) if apart else query


def _vectors_of(query: Query, plans: Sequence[Plan], head: Head) -> SpaceHead | None:
    """The space whose vectors hits should have. Raises `BadQuery`, `SpaceNotFound`."""
    if not query.vectors:
        return None
    spaces = {ranking.space.name: ranking.space for ranking in plans}
    if len(spaces) > 1:
        raise BadQuery(f"the query asks in several spaces; for vectors, name one of them: {', '.join(sorted(spaces))}")
    if spaces:
        return next(iter(spaces.values()))
    return head.spaces[0] if query.space is None else named_space(query.space, head)


def _groups(query: Query, parts: tuple[Part, ...], head: Head, embedder: Embedder) -> Iterator[tuple[Part, ...]]:
    """The parts of each ranking: by default those of a space that knows few modalities apart from all others."""
    counted = tuple(part for part in parts if part.weight)
    joins = query.fusion in ("late", "joint") or (query.space is not None and query.fusion is None)
    if joins or len(counted) < 2 or not any(part.weight > 0 for part in parts):
        yield parts
    elif query.fusion == "ranks":
        yield from ((part,) for part in counted)
    else:
        apart: Mapping[str | None, list[Part]] = defaultdict(list)
        for part in counted:
            apart[_home(part, head, embedder)].append(part)
        yield from map(tuple, apart.values())


def _home(part: Part, head: Head, embedder: Embedder) -> str | None:
    """The part's own space if that knows few modalities, else None."""
    modality = part.modality or ITEMS_ARE
    if modality not in embedder.modalities:
        return None
    name = default_among({space.name for space in head.spaces}, modality, embedder)
    return name if name is not None and embedder.spaces[name].modalities is not None else None


def _upright(group: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a ranking; what all of them push away is ranked by how much it resembles them."""
    if any(part.weight > 0 for part in group):
        return group
    return tuple(replace(part, weight=-part.weight) for part in group)


def weight_of(group: Sequence[Part]) -> float:
    """The weight of the ranking of a group of parts; below 0 where it pushes away."""
    wanted = sum(part.weight for part in group if part.weight > 0)
    return wanted or _UNLIKE * sum(part.weight for part in group)


def ranking_vectors(
    plans: Mapping[Place, Plan], values: ValueVectors, stored: ItemVectors, mean: FloatArray
) -> tuple[dict[Place, FloatArray], dict[Place, AnyseekError]]:
    """The vector (d,) of each ranking, or its error; see `fuse_parts`."""
    vectors: dict[Place, FloatArray] = {}
    errors: dict[Place, AnyseekError] = {}
    for place, planned in plans.items():
        try:
            vectors[place] = fuse_parts(planned, values.get(place, {}), stored, mean)
        except AnyseekError as error:
            errors[place] = error
    return vectors, errors


def nearest_items(
    view: View,
    plans: Mapping[Place, Plan],
    vectors: Mapping[Place, FloatArray],
    without: Set[int] = frozenset(),
) -> dict[Place, Ranking]:
    """The nearest items of each ranking but `without` some; those of equal depth and filter are searched together."""
    alike: dict[tuple[int, Filter | None], list[Place]] = defaultdict(list)
    for place in vectors:
        alike[plans[place].depth, plans[place].where].append(place)
    found: dict[Place, Ranking] = {}
    for (depth, where), places in alike.items():
        every = view.search(np.stack([vectors[place] for place in places]), depth + len(without), where)
        for place, ids, scores in zip(places, every.ids, every.scores.clip(-1, 1), strict=True):  # rounded beyond some
            kept = np.isin(ids, list(without), invert=True) if without else slice(None)
            found[place] = ranking_of(ids[kept][:depth], scores[kept][:depth].astype(np.float64))
    return found


def with_standings(
    sample: Background, vectors: Mapping[Place, FloatArray], found: Mapping[Place, Ranking], count: int
) -> dict[Place, Ranking]:
    """The rankings of `count` items with their standings against the `sample`."""
    return {
        place: replace(ranking, standing=standing(sample, vectors[place], ranking.ids, ranking.scores), count=count)
        for place, ranking in found.items()
    }
