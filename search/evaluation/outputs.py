"""Compares what a model predicts of things, from pictures or other modalities, with the known values."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyseek.model.seam import Regions, Sample, Value
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.aligned import AlignedSet
from anyseek.search.evaluation.instruments import Progress
from anyseek.search.evaluation.measures import Estimate, estimate
from anyseek.search.evaluation.output_measures import MEASURES, Measures, RegionOverlap, measures_of
from anyseek.search.evaluation.rows import chunks

PICTURE, REGIONS = "rgb", "semseg"
Predict = Callable[[Mapping[str, Value], str], Value]  # inputs, one target -> its value
Watch = Callable[[Sample, str, Value], object]  # a thing, a target and what was predicted of it


@dataclass(frozen=True)
class OutputRow:
    """One measure of one predicted modality over `things` things."""

    modality: str
    measure: str
    things: int
    value: Estimate


@dataclass(frozen=True)
class Outputs:
    """All measures of a set, predicted from `given`; `unreadable` says which things were left out and why."""

    name: str
    given: tuple[str, ...]
    rows: tuple[OutputRow, ...]
    unreadable: tuple[str, ...]


def measure_outputs(
    aligned: AlignedSet,
    predicted: frozenset[str],
    predict: Predict,
    progress: Progress,
    watch: Watch | None = None,
    given: Sequence[str] = (PICTURE,),
) -> Outputs:
    """Predict the `predicted` modalities of each thing from those `given`, and measure them against the known values.

    Modalities that are not known of a thing or cannot be measured are skipped. `watch` is called with every
    prediction, thing by thing.

    Raises `NotAligned` if the set has no known values that can be measured.
    """
    targets = sorted(predicted & {*MEASURES, REGIONS} - {*given})
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    regions, unreadable = RegionOverlap(), list[str]()
    for chunk in chunks(aligned.samples, unreadable):
        progress(f"{aligned.name}: predicting of things {chunk.start + 1:,} to {chunk.stop:,} of {len(aligned.keys):,}")
        for sample in chunk.samples:
            for target in targets:
                if sample.values.keys() >= {*given, target}:
                    for measure, value in _measured(sample, given, target, predict, regions, watch).items():
                        found[target, measure].append(value)
    rows = [OutputRow(*key, len(values), estimate(np.array(values), np.mean)) for key, values in found.items()]
    overlap = regions.mean()
    if overlap is not None:
        rows.append(OutputRow(REGIONS, "mean_iou", len(regions), overlap))
    if not rows:
        wanted = ", ".join(targets) or "anything"
        raise NotAligned(
            f"{aligned.name} has no {' + '.join(given)} with {wanted} that the model predicts and that has a measure"
        )
    return Outputs(aligned.name, tuple(given), tuple(sorted(rows, key=lambda row: row.modality)), tuple(unreadable))


def _measured(
    sample: Sample, given: Sequence[str], target: str, predict: Predict, regions: RegionOverlap, watch: Watch | None
) -> Measures:
    """Measure one prediction; a segmentation whose ids have names is added to `regions` instead."""
    true = sample.values[target]
    if isinstance(true, Regions) and not true.classes:
        return {}
    value = predict({name: sample.values[name] for name in given}, target)
    if watch is not None:
        watch(sample, target, value)
    if isinstance(value, Regions) and isinstance(true, Regions):
        regions.add(value, true)
        return {}
    return measures_of(target, value, true)
