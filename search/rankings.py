"""A query as one ranking or several: parts that are at home in different spaces are searched for apart and added.

A space such as that of colours knows some modalities alone, so no one vector says "love" and red. Each ranking is of
one space; an item's score is the sum of its reciprocal ranks, by weight (Cormack et al. 2009, "Reciprocal rank fusion
outperforms Condorcet and individual rank learning methods"). Ranks need no common scale of scores.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from model.seam import Embedder, Fusion
from search.catalogue.collections import Head, SpaceHead
from search.errors import BadQuery
from search.filters.tree import Filter
from search.hits import Scores
from search.queries import ITEMS_ARE, Plan, checked_parts, default_among, named_space, plan
from search.query_limits import depth_of, where_of
from search.settings import Limits
from search.types import Part, Query

Ranked = Sequence[tuple[int, int]]  # item ids with their ranks from 1; several may have the same

_UNLIKE = 0.5  # how much a ranking that lowers its items counts, beside one of the same weight that raises them
_DAMPING = 60  # of Cormack et al.: how little the first ranks differ


@dataclass(frozen=True)
class Asked:
    """A checked query: its rankings with their weights, negative where an item should be unlike.

    `where` is the filter of all rankings and of words, of which the best `depth` items count. `fusion` is None for a
    query of one part. `vectors_of` is the space whose vectors the query asks for.
    """

    query: Query
    rankings: tuple[Plan, ...]
    weights: tuple[float, ...]
    where: Filter | None
    depth: int
    fusion: Fusion | None
    vectors_of: SpaceHead | None

    @property
    def is_one_ranking(self) -> bool:
        """Whether scores are cosines, and further items can be asked for."""
        return len(self.rankings) == 1 and not self.query.words

    @property
    def space(self) -> str | None:
        """The space that answers; several are joined by `+`. None for words alone."""
        spaces = [ranking.space for ranking in self.rankings] or ([self.vectors_of] if self.vectors_of else [])
        return "+".join(dict.fromkeys(space.name for space in spaces)) or None

    def merged(self, found: Sequence[Scores], by_words: Sequence[Ranked]) -> Scores:
        """The best items of all rankings, those of `query.words` among them, with their scores."""
        if self.is_one_ranking:
            return found[0]
        ranked = [[(item_id, rank) for rank, (item_id, _) in enumerate(scores, 1)] for scores in found]
        weights = (*self.weights, *(words.weight for words in self.query.words))
        return fused(list(zip(weights, [*ranked, *by_words], strict=True)))


def fused(found: Sequence[tuple[float, Ranked]]) -> Scores:
    """Rankings with their weights, added by reciprocal rank: scores in [-1, 1], 1 for what comes first in all.

    Those of equal score are ordered by id. What a ranking with a negative weight finds is lowered where another has it.
    """
    scores: dict[int, float] = {}
    for weight, ranked in sorted(found, key=lambda one: -one[0]):
        for item_id, rank in ranked:
            if weight > 0 or item_id in scores:
                scores[item_id] = scores.get(item_id, 0.0) + weight / (_DAMPING + rank)
    highest = sum(weight for weight, _ in found if weight > 0) / (_DAMPING + 1)
    order = sorted(scores.items(), key=lambda item: (-round(item[1], 12), item[0]))
    return [(item_id, max(-1.0, score / highest)) for item_id, score in order]


def ask(query: Query, head: Head, embedder: Embedder, limits: Limits) -> Asked:
    """The rankings of a query. Raises `BadFilter`, `LimitExceeded`, and what `search.queries.plan` raises."""
    parts = checked_parts(query, embedder, limits)
    groups = list(_groups(query, parts, head, embedder)) if parts else []
    depth = depth_of(query, len(groups) + len(query.words), limits)
    are_added, where = len(groups) + len(query.words) > 1, where_of(query)
    each = replace(query, fusion=None) if len(groups) > 1 or query.fusion is Fusion.RANKS else query
    shown = [_upright(group) if are_added else group for group in groups]
    plans = tuple(plan(each, group, head, embedder, where, depth) for group in shown)
    if not plans and query.space is not None:
        named_space(query.space, head)  # words need none, but what is asked for must be there
    fusion = Fusion.RANKS if are_added else plans[0].fusion if len(parts) > 1 else None
    return Asked(query, plans, tuple(map(_weight, groups)), where, depth, fusion, _vectors_of(query, plans, head))


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
    joins = query.fusion in (Fusion.JOINT, Fusion.LATE) or (query.space is not None and query.fusion is None)
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


def _weight(group: tuple[Part, ...]) -> float:
    wanted = sum(part.weight for part in group if part.weight > 0)
    return wanted or _UNLIKE * sum(part.weight for part in group)
