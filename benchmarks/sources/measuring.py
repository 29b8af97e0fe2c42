"""Recall of models and of their encoders without training, and gains with their intervals.

The baseline is the best untrained use of the same encoders: the image encoder's pooled vector and its map in parts, or
ConSE's vectors of photos for words. Queries of other splits choose its constants for each modality. Photos are centred
on the gallery's mean; queries too, or on the mean of queries of other splits, as a service can that has had some.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from anyseek.model.encoders.efficientnet import conse
from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.answers.ranks import NO_ITEM, first_ranks
from anyseek.search.evaluation.measures import Estimate, average_precisions
from anyseek.search.query.hubs import corrected
from anyseek.search.spaces.base import centre
from benchmarks.sources.sets import CAPTION, Query, SourceSet
from benchmarks.sources.vectors import LOGITS, PLACES, TEXT, WHOLE, Sides

SEED, RESAMPLES = 0, 1_000
SIZES = (100, 200, 400, 683, 1_000)  # of galleries
_FIRST = 10  # of R@10
_PLACES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # weights beside a whole of 1
_TEMPERATURES = (1.0, 2.0, 3.0)
Values = npt.NDArray[np.float64]
Spaces = Mapping[str, EmbeddingSpace]


class Mean(StrEnum):
    """The mean that the baseline subtracts from queries."""

    GALLERY = "gallery"
    QUERIES = "queries"  # of other splits


@dataclass(frozen=True)
class Constants:
    """Of the baseline: the weight of places beside a whole of 1, or ConSE's temperature for words."""

    weight: float
    mean: Mean


def choose_constants(sets: Sequence[tuple[SourceSet, Sides]], classes: FloatArray) -> dict[str, list[Constants]]:
    """The constants of each modality, for each mean, with which queries of other splits find most over all sources."""
    chosen = {}
    for modality in sorted({of.modality for of, _ in sets}):
        own = [(of, sides) for of, sides in sets if of.modality == modality]
        weights = _TEMPERATURES if modality == CAPTION else _PLACES

        def quality(constants: Constants, own: Sequence[tuple[SourceSet, Sides]] = own) -> float:
            cosines = [baseline_cosines(sides, "others", constants, classes) for _, sides in own]
            return float(
                np.mean([_values(each, of, "others").mean() for each, (of, _) in zip(cosines, own, strict=True)])
            )

        chosen[modality] = [max((Constants(weight, mean) for weight in weights), key=quality) for mean in Mean]
    return chosen


def baseline_cosines(sides: Sides, side: str, constants: Constants, classes: FloatArray) -> FloatArray:
    """Cosines (n, m), or a sum of two, of the queries of a side and the photos.

    `classes` (1000, 384) are MiniLM's vectors of the classes' names.
    """
    if TEXT in sides[side]:
        logits = torch.from_numpy(sides["photos"][LOGITS])
        words = conse(logits, torch.from_numpy(classes), constants.weight).numpy()
        return _cosines(sides, side, TEXT, words, constants.mean)
    whole, places = (_cosines(sides, side, name, sides["photos"][name], constants.mean) for name in (WHOLE, PLACES))
    total: FloatArray = whole + constants.weight * places
    return total


def _cosines(sides: Sides, side: str, name: str, photos: FloatArray, mean: Mean) -> FloatArray:
    centre_of_photos = photos.mean(axis=0)
    subtracted = sides["others"][name].mean(axis=0) if mean is Mean.QUERIES else centre_of_photos
    cosines: FloatArray = centre(sides[side][name], subtracted) @ centre(photos, centre_of_photos).T
    return cosines


def model_scores(queries: FloatArray, photos: FloatArray, space: EmbeddingSpace, modality: str) -> FloatArray:
    """Scores (n, m) of centred queries and of photos, which are centred as a collection does.

    Those of all but captions, which are sentences, are corrected for hubs.
    """
    items = centre(photos, photos.mean(axis=0), space.blocks)
    typical = None if modality == CAPTION else space.typical_queries.get(modality)
    return corrected(queries @ items.T, items, typical)


def query_values(cosines: FloatArray, queries: Sequence[Query], by_class: bool) -> Values:
    """1 for each query with a right photo among the first ten, else 0; its average precision if `by_class`."""
    right = np.zeros(cosines.shape, np.bool_)
    for row, query in enumerate(queries):
        right[row, list(query.right)] = True
    none = np.full(len(queries), NO_ITEM)
    if by_class:
        return average_precisions(cosines, none, right, own_is_query=False)
    return (first_ranks(cosines, none, right) <= _FIRST).astype(np.float64)


def source_row(
    of: SourceSet, sides: Sides, spaces: Spaces, constants: Sequence[Constants], classes: FloatArray
) -> dict[str, Any]:
    """A row of the table: the baseline's mean with each of the constants, and each model's.

    A model's gain is over the constants that find more.
    """
    units = [query.unit for query in of.test]
    untrained = {each.mean: _values(baseline_cosines(sides, "test", each, classes), of, "test") for each in constants}
    best = max(untrained.values(), key=np.mean)
    models = {}
    for name, space in spaces.items():
        values = _values(model_scores(sides["test"][name], sides["photos"][name], space, of.modality), of, "test")
        models[name] = {
            "value": asdict(unit_estimate(values, units)),
            "gain": asdict(unit_estimate(values - best, units)),
        }
    about = {"source": of.source, "query": of.kind, "measure": "mAP" if of.by_class else "R@10"}
    counts = {"queries": len(of.test), "units": len(set(units)), "photos": len(of.photos)}
    baselines = {mean: asdict(unit_estimate(values, units)) for mean, values in untrained.items()}
    return about | counts | {"untrained": baselines, "models": models}


def _values(cosines: FloatArray, of: SourceSet, side: str) -> Values:
    return query_values(cosines, of.test if side == "test" else of.others, of.by_class)


def size_rows(of: SourceSet, sides: Sides, spaces: Spaces) -> Iterator[dict[str, Any]]:
    """Yield R@10 of the first caption of each photo in the separate galleries of each size."""
    queries = (*of.test, *of.others)
    first = {query.right[0]: row for row, query in reversed([*enumerate(queries)])}
    for size in (size for size in SIZES if size <= len(of.photos)):
        galleries = [range(start, start + size) for start in range(0, len(of.photos) - size + 1, size)]
        models = {}
        for name, space in spaces.items():
            vectors = np.concatenate([sides["test"][name], sides["others"][name]])
            values = []
            for gallery in galleries:
                own = [Query(queries[first[photo]].read, (row,), str(photo)) for row, photo in enumerate(gallery)]
                asking = vectors[[first[photo] for photo in gallery]]
                scores = model_scores(asking, sides["photos"][name][gallery], space, of.modality)
                values.append(query_values(scores, own, False))
            models[name] = asdict(unit_estimate(np.concatenate(values), range(len(galleries) * size)))
        yield {"source": of.source, "photos": size, "galleries": len(galleries), "models": models}


def unit_estimate(values: Values, units: Sequence[str] | range) -> Estimate:
    """The mean of values (n,), and its 95% interval from 1,000 resamples of the units (n,) that queries belong to."""
    numbers = np.unique(units, return_inverse=True)[1]
    sums, counts = np.bincount(numbers, values), np.bincount(numbers)
    drawn = np.random.default_rng(SEED).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    low, high = np.quantile(drawn @ sums / (drawn @ counts), (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high))
