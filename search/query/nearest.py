"""Searches a view of a space for the rankings of queries: vectors, nearest items, standard scores, probabilities."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.catalogue.item_cache import Snapshot
from anyseek.search.confidence.relevance import name_features, probabilities, relevance_kind
from anyseek.search.confidence.score_samples import ScoreSample, prior_centred, z_scores
from anyseek.search.errors import AnyseekError
from anyseek.search.filters.tree import Filter
from anyseek.search.query.hubs import POOL, corrected, hub_queries
from anyseek.search.query.planning import Plan
from anyseek.search.query.rankings import Ranking, ranking_of
from anyseek.search.query.vectors import ItemVectors, Plans, RankingKey, ValueVectors, fuse_parts
from anyseek.search.spaces.base import View, centre
from anyseek.search.types import IdArray

# By the ranking, its items: ids (n,) ascending, and their centred vectors (n, d).
ItemRows = Mapping[RankingKey, tuple[IdArray, FloatArray]]


def plans_by_space(plans: Plans) -> list[tuple[SpaceHead, dict[RankingKey, Plan]]]:
    """The plans of each space; spaces with a condition are last, because that also ranks what the others find."""
    by_space: dict[SpaceHead, dict[RankingKey, Plan]] = defaultdict(dict)
    for place, plan in plans.items():
        by_space[plan.space][place] = plan
    return sorted(by_space.items(), key=lambda item: any(plan.is_condition for plan in item[1].values()))


def ranking_vectors(
    plans: Plans, values: ValueVectors, stored: ItemVectors, mean: FloatArray
) -> tuple[dict[RankingKey, FloatArray], dict[RankingKey, AnyseekError]]:
    """The vector (d,) of each ranking, or its error; see `fuse_parts`."""
    vectors: dict[RankingKey, FloatArray] = {}
    errors: dict[RankingKey, AnyseekError] = {}
    for place, planned in plans.items():
        try:
            vectors[place] = fuse_parts(planned, values.get(place, {}), stored, mean)
        except AnyseekError as error:
            errors[place] = error
    return vectors, errors


def nearest_items(
    view: View,
    space: EmbeddingSpace,
    plans: Plans,
    vectors: Mapping[RankingKey, FloatArray],
    excluded_ids: Set[int] = frozenset(),
) -> dict[RankingKey, Ranking]:
    """The nearest items of each ranking, without `excluded_ids`, in one search for each depth and filter."""
    hubs = {place: hub_queries(plans[place], space) for place in vectors}
    groups: dict[tuple[int, Filter | None], list[RankingKey]] = defaultdict(list)
    for place in vectors:
        pool = 0 if hubs[place] is None else POOL
        groups[plans[place].depth + pool, plans[place].where].append(place)
    rankings: dict[RankingKey, Ranking] = {}
    for (depth, where), places in groups.items():
        neighbours = view.search(np.stack([vectors[place] for place in places]), depth + len(excluded_ids), where)
        cosines = neighbours.scores.clip(-1, 1)  # some are beyond by rounding
        for place, ids, scores in zip(places, neighbours.ids, cosines, strict=True):
            keep = np.isin(ids, list(excluded_ids), invert=True) if excluded_ids else slice(None)
            ids, scores = ids[keep], scores[keep]
            if (queries := hubs[place]) is not None and len(ids):
                ids, items = view.vectors(np.sort(ids))
                scores = corrected(items @ vectors[place], items, queries)
            rankings[place] = _best_first(ids, scores, plans[place].depth)
    return rankings


def _best_first(ids: IdArray, scores: npt.ArrayLike, depth: int | None = None) -> Ranking:
    """The ranking of the `depth` best of ids (n,), by score and then by id; of all if it is None."""
    values = np.asarray(scores, np.float64)
    order = np.lexsort((ids, -values))[:depth]
    return ranking_of(ids[order], values[order])


def condition_rows(
    view: View,
    plans: Plans,
    found: Mapping[RankingKey, Ranking],
    others: Callable[[RankingKey], Iterable[Ranking]],
) -> ItemRows:
    """The items found for each condition among the plans, and those of the `others` that are added to it."""
    return {
        place: view.vectors(np.unique(np.concatenate([ranking.ids, *(other.ids for other in others(place))])))
        for place, ranking in found.items()
        if plans[place].is_condition
    }


def with_z_scores(
    sample: ScoreSample,
    vectors: Mapping[RankingKey, FloatArray],
    found: Mapping[RankingKey, Ranking],
    count: int,
    conditions: ItemRows,
) -> dict[RankingKey, Ranking]:
    """The rankings of `count` items with their standard scores against the `sample`.

    A condition ranks its items by correlation: by the cosine once the mean of the sample is subtracted.
    """
    rankings = {}
    for place, ranking in found.items():
        against = sample
        if place in conditions and len(sample.ids):
            ranking, against = _by_correlation(sample, vectors[place], *conditions[place])
        z = z_scores(against, vectors[place], ranking.ids, ranking.scores)
        rankings[place] = replace(ranking, z=z, count=count)
    return rankings


def _by_correlation(
    sample: ScoreSample, query: FloatArray, ids: IdArray, rows: FloatArray
) -> tuple[Ranking, ScoreSample]:
    """The ranking of a condition, and the sample that its scores are compared with."""
    mean = sample.vectors.mean(axis=0)
    ranking = _best_first(ids, (centre(rows, mean) @ query).clip(-1, 1))
    return replace(ranking, is_condition=True), replace(sample, vectors=centre(sample.vectors, mean))


def with_probabilities(
    snapshot: Snapshot,
    space: SpaceHead,
    model_space: EmbeddingSpace,
    plans: Plans,
    vectors: Mapping[RankingKey, FloatArray],
    rankings: Mapping[RankingKey, Ranking],
    sample: ScoreSample,
) -> dict[RankingKey, Ranking]:
    """The rankings, with probabilities where the model has a curve for the kind of query in this space."""
    rated = dict(rankings)
    for place, ranking in rankings.items():
        kind = relevance_kind(plans[place].parts) if plans[place].is_alone else None
        if kind is None or kind not in model_space.relevance or ranking.z is None or not len(ranking.ids):
            continue
        features = np.stack([ranking.scores, ranking.z], axis=1)
        if kind in model_space.typical_queries:
            items = prior_centred(snapshot.session, snapshot.head, space, model_space.gallery_prior, ranking.ids)
            features = name_features(items, vectors[place], model_space.typical_queries[kind], sample)
        curve = model_space.relevance[kind]
        values = probabilities(curve, features)
        rated[place] = replace(ranking, probabilities=values, nothing_good_threshold=curve.nothing_good)
    return rated
