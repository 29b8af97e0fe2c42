"""Corrects rankings for hubs: items that are near to most queries of a modality, whatever these ask for.

The corrected score of an item is its cosine, less a share of the mean cosine of the typical queries that are nearest to
it: cross-domain similarity local scaling, without the query's term, which is the same for all items (Conneau et al.
2018, "Word translation without parallel data"). More items than wanted are retrieved, corrected, and cut.
"""

import numpy as np

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.query.planning import Plan
from anyseek.search.query.query import Part
from anyseek.search.query.words import is_name

# Chosen on sources left out, which `python -m benchmarks.relevance` compares with 0.
SHARE = 0.3
_NEAREST = 4
# The number of items retrieved beyond those wanted, among which scores are corrected.
POOL = 128


def hub_queries(plan: Plan, space: EmbeddingSpace) -> FloatArray | None:
    """The typical queries (m, d) of a ranking that is an answer to parts of one modality; None if it is not corrected.

    Typical words are names, and no measure for sentences. Rankings that are added to others stay as they are:
    corrected ones found less (titles of photos with a colour).
    """
    if not plan.is_alone:
        return None
    modalities = {part.modality for part in plan.parts}
    modality = modalities.pop()
    if modalities or modality is None or not all(_is_typical(part) for part in plan.parts):
        return None
    return space.typical_queries.get(modality)


def _is_typical(part: Part) -> bool:
    return part.vector is None and part.weight > 0 and (not isinstance(part.value, str) or is_name(part.value))


def corrected(cosines: FloatArray, items: FloatArray, queries: FloatArray | None) -> FloatArray:
    """The scores of centred items (n, d) from their cosines (n,) or (queries, n), beside typical queries (m, d).

    They are the cosines themselves if `queries` is None.
    """
    if queries is None:
        return cosines
    near = np.partition(items @ queries.T, -_NEAREST, axis=1)[:, -_NEAREST:]
    scores: FloatArray = cosines - SHARE * near.mean(axis=1)
    return scores
