"""A query as one ranking or several: parts that are at home in different spaces are searched for apart and added.

A space such as that of colours knows some modalities alone, so no one vector says "love" and red. Each ranking is of
one space; `anyseek.search.query.fusing` adds them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyseek.model.seam import Embedder, FloatArray, Fusion
from anyseek.search.answers.hits import Found, Scores
from anyseek.search.answers.paging import Pages, pages_of
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.confidence.probabilities import (
    Background,
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
from anyseek.search.query.fusing import Ranked, Weighted, fused, ranks_of
from anyseek.search.query.limits import depth_of, where_of
from anyseek.search.query.queries import ITEMS_ARE, Plan, checked_parts, default_among, named_space, plan
from anyseek.search.query.vectors import ItemVectors, Place, ValueVectors, fuse_parts
from anyseek.search.settings import Limits
from anyseek.search.spaces.base import View
from anyseek.search.types import Part, Query

_UNLIKE = 0.5  # how much a ranking that lowers its items counts, beside one of the same weight that raises them
_NOTHING = 1e-6  # a score that is 0 but for rounding


@dataclass(frozen=True)
class Ranking:
    """What one ranking found, and how far it stands out among `count` items; None where there are too few to say."""

    scores: Scores
    standing: Standing | None
    count: int


@dataclass(frozen=True)
class Asked:
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
        """Whether scores are cosines, and further items can be asked for."""
        return len(self.rankings) == 1 and not self.query.words

    @property
    def space(self) -> str | None:
        """The space that answers; several are joined by `+`. None for words alone."""
        spaces = [ranking.space for ranking in self.rankings] or ([self.vectors_of] if self.vectors_of else [])
        return "+".join(dict.fromkeys(space.name for space in spaces)) or None

    def sameness_note(self, head: Head, found: Scores) -> str | None:
        """That the space tells none of the items from another, as its scores are all 0, and which others there are."""
        if not self.is_one_ranking or len(found) < 2:
            return None
        others = [space.name for space in head.spaces if space != self.rankings[0].space]
        if not others or max(abs(score) for _, score in found) > _NOTHING:
            return None
        return (
            f"in the space {self.space!r} these items share nothing with the query, and stand in no order; "
            f"name another: {', '.join(others)}"
        )

    def merged(self, found: Sequence[Ranking], by_words: Sequence[Ranked]) -> Found:
        """The best items of all rankings, those of `query.words` among them, with their scores and probabilities."""
        weighted = self.weighted(found, by_words)
        scores = found[0].scores if self.is_one_ranking else fused(weighted)
        stood = [one.standing for one in weighted if one.standing is not None]
        if not stood:
            return Found(scores, {})
        whole = together(stood, [one.weight for one in weighted])
        modalities = {part.modality or ITEMS_ARE for ranking in self.rankings for part in ranking.parts}
        if self.query.words:
            modalities.add("words")
        order = [item_id for item_id, _ in scores]
        curve = curve_of(sort_of(modalities, len(self.rankings) + len(self.query.words)))
        likely = dict(zip(order, probabilities(whole, order, curve), strict=True))
        return Found(scores, likely, nothing_good_below(whole, modalities))

    def weighted(self, found: Sequence[Ranking], by_words: Sequence[Ranked]) -> list[Weighted]:
        """The rankings, those of `query.words` last. They have no standing if words alone were looked for, or if the
        collection is too small.
        """
        stand = bool(found) and all(one.standing is not None for one in found)
        count = max((one.count for one in found), default=0)
        own = [
            Weighted(weight, ranks_of(one.scores), one.standing if stand else None)
            for weight, one in zip(self.weights, found, strict=True)
        ]
        of_words = [
            Weighted(words.weight, ranked, standing_of_words(ranked, count) if stand else None)
            for words, ranked in zip(self.query.words, by_words, strict=True)
        ]
        return [*own, *of_words]


def ask(query: Query, head: Head, embedder: Embedder, limits: Limits) -> Asked:
    """The rankings of a query. Raises `BadFilter`, `LimitExceeded`, and what `queries.plan` raises."""
    pages = pages_of(query, head.id, limits.hits)
    if pages.seen:
        query = replace(query, offset=len(pages.seen))
    parts = checked_parts(query, embedder, limits)
    asked = [(one, group) for one in _in_spaces(query) for group in _groups(one, parts, head, embedder) if parts]
    depth = depth_of(query, len(asked) + len(query.words), limits)
    are_added, where = len(asked) + len(query.words) > 1, where_of(query)
    plans = tuple(
        plan(_of_group(one, group, parts), _upright(group) if are_added else group, head, embedder, where, depth)
        for one, group in asked
    )
    if not plans:
        for name in filter(None, (query.space, *query.spaces)):
            named_space(name, head)  # words need none, but what is asked for must be there
    shares = max(1, len(query.spaces))  # so that words count as much beside parts asked in several spaces
    weights = tuple(weight_of(group) / shares for _, group in asked)
    fusion = Fusion.RANKS if are_added else plans[0].fusion if len(parts) > 1 else None
    vectors_of = _vectors_of(query, plans, head)
    return Asked(query, plans, weights, where, depth, fusion, vectors_of, pages)


def _in_spaces(query: Query) -> Iterator[Query]:
    """The query as it is asked in each of its spaces."""
    if not query.spaces:
        yield query
    for name in query.spaces:
        yield replace(query, space=name, spaces=())


def _of_group(query: Query, group: Sequence[Part], parts: Sequence[Part]) -> Query:
    """The query of one ranking: its parts have no fusion where they are only some of all, or each asks alone."""
    apart = len(group) < sum(part.weight != 0 for part in parts) or query.fusion is Fusion.RANKS
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
    joins = query.fusion in (Fusion.LATE, Fusion.JOINT) or (query.space is not None and query.fusion is None)
    if joins or len(counted) < 2 or not any(part.weight > 0 for part in parts):
        yield parts
    elif query.fusion is Fusion.RANKS:
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
    """How much the ranking of a group of parts counts; below 0 where it pushes away."""
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


def with_standings(
    sample: Background, vectors: Mapping[Place, FloatArray], found: Mapping[Place, Scores], count: int
) -> dict[Place, Ranking]:
    """The rankings of `count` items with their standings against the `sample`."""
    return {place: Ranking(scores, standing(sample, vectors[place], scores), count) for place, scores in found.items()}


def nearest_items(view: View, plans: Mapping[Place, Plan], vectors: Mapping[Place, FloatArray]) -> dict[Place, Scores]:
    """(id, score) by ranking; rankings of equal depth and filter are searched together."""
    alike: dict[tuple[int, Filter | None], list[Place]] = defaultdict(list)
    for place in vectors:
        alike[plans[place].depth, plans[place].where].append(place)
    found: dict[Place, Scores] = {}
    for (depth, where), places in alike.items():
        ids, scores = view.search(np.stack([vectors[place] for place in places]), depth, where)
        clipped = scores.clip(-1, 1).tolist()  # rounding moves some outside
        for place, own, score in zip(places, ids.tolist(), clipped, strict=True):
            found[place] = list(zip(own, score, strict=True))
    return found
