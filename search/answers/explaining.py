"""Explains hits by ablation: the score and rank of an item for each part of a query alone, and without each part.

Parts are embedded again only if they were embedded jointly. All variants of a query are searched in one search of each
space, `DEPTH` deep; scores of items beyond it are computed from their stored vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.seam import Embedder, FloatArray, Fusion
from anyseek.search.answers.match_evidence import (
    Names,
    RankingCodes,
    missing_codes_note,
    ranking_codes,
    ranking_names,
    shared_words,
)
from anyseek.search.answers.results import Explanation, PartShare, RankingShare
from anyseek.search.catalogue import items
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.catalogue.item_cache import Snapshot
from anyseek.search.confidence.score_samples import ScoreSamples
from anyseek.search.errors import ItemNotFound
from anyseek.search.query.hubs import corrected, hub_queries
from anyseek.search.query.nearest import condition_rows, nearest_items, plans_by_space, ranking_vectors, with_z_scores
from anyseek.search.query.planning import Plan
from anyseek.search.query.query import Part
from anyseek.search.query.rankings import (
    PlannedQuery,
    Ranking,
    fuse_rankings,
    ranking_of_words,
    score_contributions,
    weight_of,
)
from anyseek.search.query.vectors import MeansBySpace, Plans, RankingKey, ValueVectors, embed_values, raw_item_vectors
from anyseek.search.spaces.base import OpenSpace, centre, raw_vectors
from anyseek.search.types import Item

DEPTH = 1_000  # of the ranking of a query that has only one

# Vectors of values by the number of the ranking and the place of the part; the vector of joint parts is at 0.
PartVectors = Mapping[int, Mapping[int, FloatArray]]

_WHOLE = 0  # the variant of a ranking that has all its parts
_Replacements = Mapping[int, Ranking | None]  # by the number of the ranking


def _alone_variant(place: int) -> int:
    return 2 * place + 1


def _rest_variant(place: int) -> int:
    return 2 * place + 2


@dataclass(frozen=True)
class _ItemScores:
    """Scores of the explained items by id, and ranks of the items within the depth."""

    scores: Mapping[int, float]
    ranks: Mapping[int, int]


@dataclass(frozen=True)
class _Measurements:
    """The results of all variants, by the numbers of the ranking and the variant, and the rankings of words.

    `exact` has the scores of the explained items. A variant whose parts cancel each other out is in neither.
    """

    found: dict[RankingKey, Ranking]
    exact: dict[RankingKey, Mapping[int, float]]
    by_words: Sequence[Ranking]
    codes: dict[int, RankingCodes]  # by the ranking's number
    names: dict[int, Names]
    note: str | None


@dataclass(frozen=True)
class Explainer:
    """Explains items for answered queries. `live_space` opens a space of a collection."""

    embedder: Embedder
    live_space: OpenSpace
    score_samples: ScoreSamples

    def explain(
        self, snapshot: Snapshot, planned: PlannedQuery, hits: Sequence[Item], values: PartVectors, means: MeansBySpace
    ) -> tuple[Explanation, ...]:
        """Explanations of the first of `hits` and of the items that the query names; `values` are the query's vectors.

        Raises `ItemNotFound` for a named item that does not exist, and what searching raises.
        """
        named = _by_keys(snapshot, planned.query.explain_keys)
        missing = [key for key in planned.query.explain_keys if key not in named]
        if missing:
            raise ItemNotFound(f"the collection {snapshot.head.name!r} has no item {missing[0]!r} to explain")
        explained = {item.id: item for item in (*hits[: planned.query.explain], *named.values())}
        variants = _variants(planned)
        own_values = self._values(planned, variants, values, means)
        measured = self._measure(snapshot, planned, variants, own_values, list(explained))
        own_parts = (part for part in planned.query.parts if part.collection in (None, snapshot.head.name))
        query_items = _by_keys(snapshot, [part.item for part in own_parts if part.item is not None])
        whole, without = _scores_with_and_without(planned, measured)
        return tuple(_explanation(planned, measured, whole, without, item, query_items) for item in explained.values())

    def _values(self, planned: PlannedQuery, variants: Plans, values: PartVectors, means: MeansBySpace) -> ValueVectors:
        """The vectors of the variants: the query's own, except that subsets of joint parts are embedded."""
        known: dict[RankingKey, Mapping[int, FloatArray]] = {}
        to_embed: dict[RankingKey, Plan] = {}
        for place, plan in variants.items():
            whole = planned.rankings[place[0]]
            if whole.fusion is Fusion.JOINT and len(plan.parts) < len(whole.parts):
                to_embed[place] = plan
                continue
            own = values.get(place[0], {})
            places = _part_places(place[1], len(whole.parts))
            known[place] = {new: own[old] for new, old in enumerate(places) if old in own}
        return {**known, **embed_values(self.embedder, to_embed, means)}

    def _measure(
        self,
        snapshot: Snapshot,
        planned: PlannedQuery,
        variants: Plans,
        values: ValueVectors,
        ids: list[int],
    ) -> _Measurements:
        by_words = [
            ranking_of_words(snapshot.words.ranked(part.value, planned.where, _depth(planned)), part.weight)
            for part in planned.query.words
        ]
        note = missing_codes_note(self.embedder, [ranking.space.name for ranking in planned.rankings])
        measured = _Measurements({}, {}, by_words, {}, {}, note)
        for space, plans in plans_by_space(variants):
            raise_if_abandoned()
            self._measure_in_space(measured, snapshot, space, plans, values, ids)
        return measured

    def _measure_in_space(
        self,
        measured: _Measurements,
        snapshot: Snapshot,
        space: SpaceHead,
        plans: Plans,
        values: ValueVectors,
        ids: list[int],
    ) -> None:
        """Add the measurements of the rankings of one space."""
        session, head = snapshot.session, snapshot.head
        live, model_space = self.live_space(head, space), self.embedder.spaces[space.name]
        parts = (part for plan in plans.values() for part in plan.parts)
        keys = {(part.collection, part.item) for part in parts if part.item is not None}
        filters = {plan.where for plan in plans.values() if plan.where is not None}
        stored, own = raw_item_vectors(session, head, space, keys), raw_vectors(session, head, space, ids)
        with live.open_view(live.resolve(session, head, filters)) as view:
            vectors, _ = ranking_vectors(plans, values, stored, view.centre)
            rows = {item_id: centre(vector[None], view.centre, space.blocks)[0] for item_id, vector in own.items()}
            found, mean, count = nearest_items(view, model_space, plans, vectors), view.centre, view.count()
            whole = [each for (_, variant), each in measured.found.items() if variant == _WHOLE]
            conditions = condition_rows(view, plans, found, lambda _: whole)
        sample = self.score_samples.get(head, space, model_space, mean, count)
        measured.found.update(with_z_scores(sample, vectors, found, count, conditions))
        for place, vector in vectors.items():
            measured.exact[place] = _exact_scores(rows, vector, hub_queries(plans[place], model_space))
        for (number, variant), plan in plans.items():
            if variant == _WHOLE:
                measured.codes[number] = ranking_codes(self.embedder, plan, stored, own)
                measured.names[number] = self._names(number, plan, vectors, own)

    def _names(
        self, number: int, planned: Plan, vectors: Mapping[RankingKey, FloatArray], own: Mapping[int, FloatArray]
    ) -> Names:
        places = range(len(planned.parts))
        alone = {place: vectors.get((number, _alone_variant(place))) for place in places}
        part_vectors = {place: vector for place, vector in alone.items() if vector is not None}
        return ranking_names(self.embedder, planned.space.name, part_vectors, own)


def _exact_scores(
    rows: Mapping[int, FloatArray], query: FloatArray, typical_queries: FloatArray | None
) -> dict[int, float]:
    """The scores of items, by id with their centred vectors (d,), for a query (d,)."""
    if not rows:
        return {}
    items = np.stack(list(rows.values()))
    scores = corrected(np.clip(items @ query, -1, 1), items, typical_queries)
    return dict(zip(rows, scores.tolist(), strict=True))


def _by_keys(snapshot: Snapshot, keys: Sequence[str]) -> dict[str, Item]:
    if not keys:
        return {}
    ids = items.ids_of_keys(snapshot.session, snapshot.head.id, keys)
    items_by_id = items.by_ids(snapshot.session, list(ids.values()))
    by_key = {key: items_by_id[ids[key]] for key in keys if ids.get(key) in items_by_id}
    for item in by_key.values():
        items.refuse_damaged(item)
    return by_key


def _depth(planned: PlannedQuery) -> int:
    return DEPTH if planned.is_one_ranking else planned.depth


def _part_places(variant: int, parts: int) -> Sequence[int]:
    """The places of the parts in a variant of a ranking."""
    if variant == _WHOLE:
        return range(parts)
    place = (variant - 1) // 2
    return [place] if variant == _alone_variant(place) else [other for other in range(parts) if other != place]


def _variants(planned: PlannedQuery) -> dict[RankingKey, Plan]:
    """Each ranking as a whole, with each of its parts alone, and without each part unless nothing wanted remains."""
    variants: dict[RankingKey, Plan] = {}
    for number, ranking in enumerate(planned.rankings):
        whole = replace(ranking, depth=_depth(planned))
        variants[number, _WHOLE] = whole
        for place, part in enumerate(whole.parts):
            alone = (replace(part, weight=1.0),)
            variants[number, _alone_variant(place)] = replace(
                whole, parts=alone, fusion=Fusion.LATE, is_condition=False
            )
            rest = whole.parts[:place] + whole.parts[place + 1 :]
            # The rest needs a positive weight if the whole has one.
            wants = any(part.weight > 0 for part in whole.parts)
            if any(part.weight > 0 if wants else part.weight for part in rest):
                fusion = Fusion.LATE if whole.fusion is Fusion.JOINT and len(rest) == 1 else whole.fusion
                variants[number, _rest_variant(place)] = replace(whole, parts=rest, fusion=fusion)
    return variants


def _scores_with_and_without(
    planned: PlannedQuery, measured: _Measurements
) -> tuple[_ItemScores, Mapping[RankingKey, _ItemScores | None]]:
    """The scores of the explained items in the query, and without each of its parts; None if nothing wanted remains.

    Words are the parts of the ranking after the last.
    """
    without: dict[RankingKey, _ItemScores | None] = {}
    if planned.is_one_ranking:
        for place in range(len(planned.rankings[0].parts)):
            variant = (0, _rest_variant(place))
            without[0, place] = _variant_scores(measured, variant) if variant in measured.found else None
        return _variant_scores(measured, (0, _WHOLE)), without
    # A query in several spaces has a ranking of each part group in each.
    spaces = max(1, len(planned.query.spaces))
    rankings_per_space = len(planned.rankings) // spaces
    for number, ranking in enumerate(planned.rankings):
        for place in range(len(ranking.parts)):
            raise_if_abandoned()
            others = [_with_query_weight(planned, number, part) for part in ranking.parts]
            del others[place]
            weight, replacements = weight_of(others) / spaces, dict[int, Ranking | None]()
            for other in range(number % rankings_per_space, len(planned.rankings), rankings_per_space):
                found = measured.found.get((other, _rest_variant(place)))
                replacements[other] = None if found is None else replace(found, weight=weight)
            without[number, place] = _fused_scores(_weighted_rankings(planned, measured, replacements))
    words_number = len(planned.rankings)
    for place in range(len(planned.query.words)):
        rankings = _weighted_rankings(planned, measured, {words_number + place: None})
        without[words_number, place] = _fused_scores(rankings)
    whole = _fused_scores(_weighted_rankings(planned, measured, {}))
    assert whole is not None, "a query of several rankings wants one of them"
    return whole, without


def _explanation(
    planned: PlannedQuery,
    measured: _Measurements,
    whole: _ItemScores,
    without: Mapping[RankingKey, _ItemScores | None],
    item: Item,
    query_items: Mapping[str, Item],
) -> Explanation:
    score = whole.scores.get(item.id, 0.0)
    shares = []
    for number, ranking in enumerate(planned.rankings):
        for place, part in enumerate(ranking.parts):
            alone = _variant_scores(measured, (number, _alone_variant(place)))
            rest, asked = without[number, place], _with_query_weight(planned, number, part)
            share = _part_share(asked, ranking.space.name, item, alone, rest, score)
            codes = measured.codes[number].shared(place, item.id)
            names = measured.names[number].shared(place, item.id)
            shares.append(replace(share, words=shared_words(part, item, query_items), names=names, codes=codes))
    for number, part in enumerate(planned.query.words):
        rest, alone = without[len(planned.rankings), number], _ItemScores({}, _ranks(measured.by_words[number]))
        share = _part_share(part, None, item, alone, rest, score)
        shares.append(replace(share, words=shared_words(part, item, query_items)))
    rankings = () if planned.is_one_ranking else _ranking_shares(planned, measured, item)
    joint_codes = measured.codes[0].joint_codes(item.id) if planned.is_one_ranking else None
    rank, depth = whole.ranks.get(item.id), _depth(planned)
    named = [name for names in measured.names.values() for name in names.of_item(item.id)]
    names = tuple(dict.fromkeys(named))
    return Explanation(item.key, score, rank, depth, tuple(shares), rankings, joint_codes, names, measured.note)


def _part_share(
    part: Part, space: str | None, item: Item, alone: _ItemScores, rest: _ItemScores | None, score: float
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


def _with_query_weight(planned: PlannedQuery, number: int, part: Part) -> Part:
    """A part with its weight in the query; a ranking with only negative weights has the opposite ones."""
    pushes = not planned.is_one_ranking and planned.weights[number] < 0
    return replace(part, weight=-part.weight) if pushes else part


def _variant_scores(measured: _Measurements, place: RankingKey) -> _ItemScores:
    ranks = _ranks(measured.found[place]) if place in measured.found else {}
    return _ItemScores(measured.exact.get(place, {}), ranks)


def _ranks(ranking: Ranking) -> dict[int, int]:
    return dict(zip(ranking.ids.tolist(), ranking.ranks.tolist(), strict=True))


def _weighted_rankings(planned: PlannedQuery, measured: _Measurements, replacements: _Replacements) -> list[Ranking]:
    """The rankings of a query with weights, words last; `replacements` replace some, or remove them (None)."""
    empty = ranking_of_words([], 0.0)
    found = [measured.found.get((number, _WHOLE), empty) for number in range(len(planned.rankings))]
    weights = list(planned.weights)
    for number, other in replacements.items():
        if other is not None:
            found[number], weights[number] = other, other.weight
    rankings = replace(planned, weights=tuple(weights)).weighted_rankings(found, measured.by_words)
    return [ranking for number, ranking in enumerate(rankings) if replacements.get(number, ranking) is not None]


def _fused_scores(weighted: Sequence[Ranking]) -> _ItemScores | None:
    """The standings of items in rankings together; None if none of them is wanted."""
    if not any(ranking.weight > 0 for ranking in weighted):
        return None
    whole = fuse_rankings(weighted)
    return _ItemScores(dict(zip(whole.ids.tolist(), whole.scores.tolist(), strict=True)), _ranks(whole))


def _ranking_shares(planned: PlannedQuery, measured: _Measurements, item: Item) -> tuple[RankingShare, ...]:
    spaces = [*(ranking.space.name for ranking in planned.rankings), *(None for _ in planned.query.words)]
    weighted = _weighted_rankings(planned, measured, {})
    shares = score_contributions(weighted, item.id)
    return tuple(
        RankingShare(space, ranking.weight, _ranks(ranking).get(item.id), share)
        for space, ranking, share in zip(spaces, weighted, shares, strict=True)
    )
