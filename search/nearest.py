"""What the rankings of queries find in one live space."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.errors import AnyseekError
from anyseek.search.filters.tree import Filter
from anyseek.search.hits import Scores
from anyseek.search.probabilities import Background, standing
from anyseek.search.queries import Plan
from anyseek.search.query_vectors import ItemVectors, Place, ValueVectors, fuse_parts
from anyseek.search.rankings import Ranking
from anyseek.search.spaces.base import View


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


def ranked(
    sample: Background, vectors: Mapping[Place, FloatArray], found: Mapping[Place, Scores], count: int
) -> dict[Place, Ranking]:
    """What each ranking found among `count` items, and how far it stands out from the `sample`."""
    return {place: Ranking(scores, standing(sample, vectors[place], scores), count) for place, scores in found.items()}


def nearest_items(view: View, plans: Mapping[Place, Plan], vectors: Mapping[Place, FloatArray]) -> dict[Place, Scores]:
    """(id, score) of what each ranking finds; those that look as deep with the same filter are searched together."""
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
