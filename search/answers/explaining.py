"""Explains hits: what each part of a query found alone, and how an item would stand without it.

No part is embedded again unless all were embedded together. All variants of a query are searched for in one search of
each space, `DEPTH` deep; scores of items beyond it are computed from their stored vectors.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.seam import Embedder, FloatArray, Fusion
from anyseek.search.answers.match_evidence import (
    Names,
    RankingCodes,
    ranking_codes,
    ranking_names,
    shared_words,
    why_none,
)
from anyseek.search.answers.results import Explanation, PartShare, RankingShare
from anyseek.search.catalogue import items
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.catalogue.item_cache import Snapshot
from anyseek.search.confidence.probabilities import Backgrounds
from anyseek.search.errors import ItemNotFound
from anyseek.search.query.planning import Plan
from anyseek.search.query.query import Part
from anyseek.search.query.rankings import (
    PlannedQuery,
    Ranking,
    fused,
    nearest_items,
    parts_of_score,
    ranking_of_words,
    ranking_vectors,
    weight_of,
    with_standings,
)
from anyseek.search.query.vectors import Place, TunedSpaces, ValueVectors, embed_values, raw_item_vectors
from anyseek.search.spaces.base import OpenSpace, centre, raw_vectors
from anyseek.search.types import Item

DEPTH = 1_000  # how deep a query of one ranking is looked at

# Vectors of values by the number of the ranking, and the place of the part in it; that of parts asked jointly is at 0.
PartVectors = Mapping[int, Mapping[int, FloatArray]]

_WHOLE = 0  # the number of the variant of a ranking that has all its parts


def _alone(place: int) -> int:
    return 2 * place + 1


def _rest(place: int) -> int:
    return 2 * place + 2


@dataclass(frozen=True)
class _Standing:
    """Scores of items that are explained, and ranks of those within the depth."""

    scores: Mapping[int, float]
    ranks: Mapping[int, int]


@dataclass(frozen=True)
class _Measured:
    """The results of the variants of the rankings, by the ranking's number and the variant's, and the orders of words.

    `exact` has the scores of the items that are explained. A variant whose parts cancel each other out is in neither.
    """

    found: dict[Place, Ranking]
    exact: dict[Place, Mapping[int, float]]
    by_words: Sequence[Ranking]
    codes: dict[int, RankingCodes]  # by the ranking's number
    names: dict[int, Names]
    note: str | None


@dataclass(frozen=True)
class Explainer:
    """Explains items for answered queries. `live_space` opens a space of a collection."""

    embedder: Embedder
    live_space: OpenSpace
    backgrounds: Backgrounds

    def explain(
        self,
        snapshot: Snapshot,
        planned: PlannedQuery,
        hits: Sequence[Item],
        values: PartVectors,
        tuned: TunedSpaces,
    ) -> tuple[Explanation, ...]:
        """The first of the items that are `hits`, and those that the query names; `values` are the query's vectors.

        Raises `ItemNotFound` for an item that is named and not there, and what searching raises.
        """
        named = _by_keys(snapshot, planned.query.explain_keys)
        missing = [key for key in planned.query.explain_keys if key not in named]
        if missing:
            raise ItemNotFound(f"the collection {snapshot.head.name!r} has no item {missing[0]!r} to explain")
        subjects = {item.id: item for item in (*hits[: planned.query.explain], *named.values())}
        variants = _variants(planned)
        own_values = self._values(planned, variants, values, tuned)
        measured = self._measure(snapshot, planned, variants, own_values, list(subjects))
        own = (part for part in planned.query.parts if part.collection in (None, snapshot.head.name))
        likened = _by_keys(snapshot, [part.item for part in own if part.item is not None])
        whole, left = _standings(planned, measured)
        return tuple(_explanation(planned, measured, whole, left, item, likened) for item in subjects.values())

    def _values(
        self, planned: PlannedQuery, variants: Mapping[Place, Plan], values: PartVectors, tuned: TunedSpaces
    ) -> ValueVectors:
        """The vectors of the variants: those of the query; but what went through the model together is embedded."""
        known: dict[Place, Mapping[int, FloatArray]] = {}
        anew: dict[Place, Plan] = {}
        for place, plan in variants.items():
            whole = planned.rankings[place[0]]
            if whole.fusion is Fusion.JOINT and len(plan.parts) < len(whole.parts):
                anew[place] = plan
                continue
            own = values.get(place[0], {})
            kept = _kept(place[1], len(whole.parts))
            known[place] = {new: own[old] for new, old in enumerate(kept) if old in own}
        return {**known, **embed_values(self.embedder, anew, tuned)}

    def _measure(
        self,
        snapshot: Snapshot,
        planned: PlannedQuery,
        variants: Mapping[Place, Plan],
        values: ValueVectors,
        ids: list[int],
    ) -> _Measured:
        by_words = [
            ranking_of_words(snapshot.words.ranked(part.value, planned.where, _depth(planned)), part.weight)
            for part in planned.query.words
        ]
        note = why_none(self.embedder, [ranking.space.name for ranking in planned.rankings])
        measured = _Measured({}, {}, by_words, {}, {}, note)
        by_space: dict[SpaceHead, dict[Place, Plan]] = defaultdict(dict)
        for place, plan in variants.items():
            by_space[plan.space][place] = plan
        for space, plans in by_space.items():
            raise_if_abandoned()
            self._measure_in_space(measured, snapshot, space, plans, values, ids)
        return measured

    def _measure_in_space(
        self,
        measured: _Measured,
        snapshot: Snapshot,
        space: SpaceHead,
        plans: Mapping[Place, Plan],
        values: ValueVectors,
        ids: list[int],
    ) -> None:
        """Add what is measured of the rankings of one space."""
        session, head = snapshot.session, snapshot.head
        live = self.live_space(head, space)
        parts = (part for plan in plans.values() for part in plan.parts)
        keys = {(part.collection, part.item) for part in parts if part.item is not None}
        filters = {plan.where for plan in plans.values() if plan.where is not None}
        stored, own = raw_item_vectors(session, head, space, keys), raw_vectors(session, head, space, ids)
        with live.open_view(live.resolve(session, head, filters)) as view:
            vectors, _ = ranking_vectors(plans, values, stored, view.centre)
            rows = {item_id: centre(vector[None], view.centre, space.blocks)[0] for item_id, vector in own.items()}
            found, mean, count = nearest_items(view, plans, vectors), view.centre, view.count()
        sample = self.backgrounds.get(head, space, self.embedder.spaces[space.name], mean, count)
        measured.found.update(with_standings(sample, vectors, found, count))
        for place, vector in vectors.items():
            cosines = {item_id: float(row @ vector) for item_id, row in rows.items()}
            measured.exact[place] = {item_id: max(-1.0, min(1.0, cosine)) for item_id, cosine in cosines.items()}
        for (number, variant), plan in plans.items():
            if variant == _WHOLE:
                measured.codes[number] = ranking_codes(self.embedder, plan, stored, own)
                measured.names[number] = self._names(number, plan, vectors, own)

    def _names(
        self, number: int, planned: Plan, vectors: Mapping[Place, FloatArray], own: Mapping[int, FloatArray]
    ) -> Names:
        places = range(len(planned.parts))
        of_parts = {place: vectors[number, _alone(place)] for place in places if (number, _alone(place)) in vectors}
        return ranking_names(self.embedder, planned.space.name, of_parts, own)


def _by_keys(snapshot: Snapshot, keys: Sequence[str]) -> dict[str, Item]:
    if not keys:
        return {}
    ids = items.ids_of_keys(snapshot.session, snapshot.head.id, keys)
    held = items.by_ids(snapshot.session, list(ids.values()))
    found = {key: held[ids[key]] for key in keys if ids.get(key) in held}
    for item in found.values():
        items.refuse_damaged(item)
    return found


def _depth(planned: PlannedQuery) -> int:
    return DEPTH if planned.is_one_ranking else planned.depth


def _kept(variant: int, parts: int) -> Sequence[int]:
    """The places of the parts that a variant of a ranking has."""
    if variant == _WHOLE:
        return range(parts)
    place = (variant - 1) // 2
    return [place] if variant == _alone(place) else [other for other in range(parts) if other != place]


def _variants(planned: PlannedQuery) -> dict[Place, Plan]:
    """Every ranking as a whole, of each of its parts alone, and without each of them if something wanted is left."""
    found: dict[Place, Plan] = {}
    for number, ranking in enumerate(planned.rankings):
        whole = replace(ranking, depth=_depth(planned))
        found[number, _WHOLE] = whole
        for place, part in enumerate(whole.parts):
            alone = (replace(part, weight=1.0),)
            found[number, _alone(place)] = replace(whole, parts=alone, fusion=Fusion.LATE)
            others = whole.parts[:place] + whole.parts[place + 1 :]
            # What is left has to ask for the same kind of thing: for what is wanted, if anything was.
            wants = any(part.weight > 0 for part in whole.parts)
            if any(part.weight > 0 if wants else part.weight for part in others):
                fusion = Fusion.LATE if whole.fusion is Fusion.JOINT and len(others) == 1 else whole.fusion
                found[number, _rest(place)] = replace(whole, parts=others, fusion=fusion)
    return found


def _standings(planned: PlannedQuery, measured: _Measured) -> tuple[_Standing, Mapping[Place, _Standing | None]]:
    """The standings of all items in the query, and without each of its parts, words being those of the ranking after
    the last.

    A standing is None if nothing wanted is left.
    """
    without: dict[Place, _Standing | None] = {}
    if planned.is_one_ranking:
        for place in range(len(planned.rankings[0].parts)):
            there = (0, _rest(place))
            without[0, place] = _one_ranking(measured, there) if there in measured.found else None
        return _one_ranking(measured, (0, _WHOLE)), without
    # What is asked in several spaces has a ranking in each.
    spaces = max(1, len(planned.query.spaces))
    apart = len(planned.rankings) // spaces
    for number, ranking in enumerate(planned.rankings):
        for place in range(len(ranking.parts)):
            raise_if_abandoned()
            others = [_as_asked(planned, number, part) for part in ranking.parts]
            del others[place]
            weight, instead = weight_of(others) / spaces, dict[int, Ranking | None]()
            for alike in range(number % apart, len(planned.rankings), apart):
                found = measured.found.get((alike, _rest(place)))
                instead[alike] = None if found is None else replace(found, weight=weight)
            without[number, place] = _added(_weighted(planned, measured, instead))
    last = len(planned.rankings)
    for place in range(len(planned.query.words)):
        without[last, place] = _added(_weighted(planned, measured, {last + place: None}))
    whole = _added(_weighted(planned, measured, {}))
    assert whole is not None, "a query of several rankings wants one of them"
    return whole, without


def _explanation(
    planned: PlannedQuery,
    measured: _Measured,
    whole: _Standing,
    without: Mapping[Place, _Standing | None],
    item: Item,
    likened: Mapping[str, Item],
) -> Explanation:
    score = whole.scores.get(item.id, 0.0)
    shares = []
    for number, ranking in enumerate(planned.rankings):
        for place, part in enumerate(ranking.parts):
            alone = _one_ranking(measured, (number, _alone(place)))
            rest, asked = without[number, place], _as_asked(planned, number, part)
            share = _part_share(asked, ranking.space.name, item, alone, rest, score)
            codes = measured.codes[number].shared(place, item.id)
            names = measured.names[number].shared(place, item.id)
            shares.append(replace(share, words=shared_words(part, item, likened), names=names, codes=codes))
    for number, part in enumerate(planned.query.words):
        rest, alone = without[len(planned.rankings), number], _Standing({}, _ranks(measured.by_words[number]))
        share = _part_share(part, None, item, alone, rest, score)
        shares.append(replace(share, words=shared_words(part, item, likened)))
    rankings = () if planned.is_one_ranking else _ranking_shares(planned, measured, item)
    together = measured.codes[0].together(item.id) if planned.is_one_ranking else None
    rank, depth = whole.ranks.get(item.id), _depth(planned)
    named = [name for names in measured.names.values() for name in names.of_item(item.id)]
    names = tuple(dict.fromkeys(named))
    return Explanation(item.key, score, rank, depth, tuple(shares), rankings, together, names, measured.note)


def _part_share(
    part: Part, space: str | None, item: Item, alone: _Standing, rest: _Standing | None, score: float
) -> PartShare:
    without = None if rest is None else rest.scores.get(item.id, 0.0)
    return PartShare(
        modality=part.modality,
        text=part.value if isinstance(part.value, str) else None,
        item=part.item,
        weight=part.weight,
        space=space,
        similarity=alone.scores.get(item.id),
        rank=alone.ranks.get(item.id),
        score_without=without,
        rank_without=None if rest is None else rest.ranks.get(item.id),
        contribution=None if without is None else score - without,
    )


def _as_asked(planned: PlannedQuery, number: int, part: Part) -> Part:
    """A part with the weight that the query has: of what is only pushed away, a ranking has the opposite."""
    pushes = not planned.is_one_ranking and planned.weights[number] < 0
    return replace(part, weight=-part.weight) if pushes else part


def _one_ranking(measured: _Measured, place: Place) -> _Standing:
    ranks = _ranks(measured.found[place]) if place in measured.found else {}
    return _Standing(measured.exact.get(place, {}), ranks)


def _ranks(ranking: Ranking) -> dict[int, int]:
    return dict(zip(ranking.ids.tolist(), ranking.ranks.tolist(), strict=True))


def _weighted(planned: PlannedQuery, measured: _Measured, instead: Mapping[int, Ranking | None]) -> list[Ranking]:
    """The rankings of a query with their weights, those of words last; `instead` replaces some, or leaves them out."""
    nothing = ranking_of_words([], 0.0)
    found = [measured.found.get((number, _WHOLE), nothing) for number in range(len(planned.rankings))]
    weights = list(planned.weights)
    for number, other in instead.items():
        if other is not None:
            found[number], weights[number] = other, other.weight
    every = replace(planned, weights=tuple(weights)).weighted(found, measured.by_words)
    return [ranking for number, ranking in enumerate(every) if instead.get(number, ranking) is not None]


def _added(weighted: Sequence[Ranking]) -> _Standing | None:
    """The standings of items in rankings together; None if none of them is wanted."""
    if not any(ranking.weight > 0 for ranking in weighted):
        return None
    whole = fused(weighted)
    return _Standing(dict(zip(whole.ids.tolist(), whole.scores.tolist(), strict=True)), _ranks(whole))


def _ranking_shares(planned: PlannedQuery, measured: _Measured, item: Item) -> tuple[RankingShare, ...]:
    spaces = [*(ranking.space.name for ranking in planned.rankings), *(None for _ in planned.query.words)]
    weighted = _weighted(planned, measured, {})
    shares = parts_of_score(weighted, item.id)
    return tuple(
        RankingShare(space, ranking.weight, _ranks(ranking).get(item.id), share)
        for space, ranking, share in zip(spaces, weighted, shares, strict=True)
    )
