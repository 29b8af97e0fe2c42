"""The average of known maps: a baseline for predictions, which ignores the input."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.drawings import ByteArray, ink
from anyseek.model.seam import Regions, Value
from anyseek.search.evaluation.aligned import AlignedSet
from anyseek.search.evaluation.output_measures import on_grid
from anyseek.search.evaluation.rows import chunks

_THINGS = 300  # things averaged; more make no visible difference
_GRID = (112, 112)

Array = npt.NDArray[np.float64]


def average_outputs(training: AlignedSet, wanted: frozenset[str]) -> dict[str, Value]:
    """Average the first 300 things of a training split, for each of the `wanted` modalities that can be averaged.

    Depth is float32 (112, 112) without unit, normals uint8 (112, 112, 3), Canny edges uint8 (112, 112). For
    segmentations (whose ids are the same everywhere) the average is the most frequent label at each place. Things that
    cannot be read are skipped.
    """
    known: dict[str, list[Value]] = defaultdict(list)
    samples = (sample for chunk in chunks(training.samples, []) for sample in chunk.samples)
    for sample in islice(samples, _THINGS):
        for modality in wanted & _AVERAGES.keys() & sample.values.keys():
            known[modality].append(sample.values[modality])
    return {modality: _AVERAGES[modality](values) for modality, values in known.items()}


def _depth(values: list[Value]) -> Value:
    total = np.zeros(_GRID)
    for value in values:
        depth = _on_grid(value)
        known = np.isfinite(depth)
        if known.any():
            spread = max(float(depth[known].std()), 1e-9)
            total[known] += (depth[known] - depth[known].mean()) / spread
    return (total / len(values)).astype(np.float32)


def _normal(values: list[Value]) -> Value:
    total = sum((_on_grid(value) / 127.5 - 1 for value in values), np.zeros((*_GRID, 3)))
    directions = total / np.maximum(np.linalg.norm(total, axis=2, keepdims=True), 1e-9)
    picture: ByteArray = np.rint((directions + 1) * 127.5).astype(np.uint8)
    return picture


def _edges(values: list[Value]) -> Value:
    total = sum((_on_grid(ink(np.asarray(value, np.uint8))) for value in values), np.zeros(_GRID))
    return np.rint(255 * total / max(float(total.max()), 1.0)).astype(np.uint8)


def _regions(values: list[Value]) -> Value:
    counts: dict[int, Array] = {}
    classes: dict[int, str] = {}
    for value in values:
        if isinstance(value, Regions):
            ids = on_grid(value.ids, _GRID)
            for number in np.unique(ids).tolist():
                counts[number] = counts.get(number, np.zeros(_GRID)) + (ids == number)
            classes |= value.classes
    numbers = sorted(counts)
    most = np.stack([counts[number] for number in numbers]).argmax(axis=0)
    return Regions(np.array(numbers, np.int32)[most], classes)


def _on_grid(value: Value) -> Array:
    return on_grid(np.asarray(value, np.float64), _GRID)


_AVERAGES: Mapping[str, Callable[[list[Value]], Value]] = {
    "depth": _depth,
    "normal": _normal,
    "canny_edge": _edges,
    "semseg": _regions,
}
