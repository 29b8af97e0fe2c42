"""Measures the modalities that a model predicts, from pictures or other modalities, against the known values.

Maps are compared on the prediction's grid. A map that is not square is cropped to its centre, as models see pictures.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.colours.space import to_lab
from anyseek.model.data.aligned import AlignedSet
from anyseek.model.modalities.coco import LABELS, label_of
from anyseek.model.modalities.drawings import ink
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.seam import Regions, Sample, Value
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.measures import Estimate, estimate
from anyseek.search.evaluation.vectors import Progress, batches

PICTURE, REGIONS = "rgb", "semseg"
Predict = Callable[[Mapping[str, Value], str], Value]  # inputs, one target -> its value
Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Measures = dict[str, float]
_FULL_INK = 255
_DELTA_RATIO = 1.25  # a depth within this ratio counts as right
_MIN_DEPTH = 1e-6
_RESAMPLES, _SEED = 1000, 0


def word_overlap(predicted: str, true: str) -> Measures:
    """Return `word_f1` in [0, 1]: the harmonic mean of the shares of words that both texts have, in any order."""
    predicted_words, true_words = Counter(predicted.lower().split()), Counter(true.lower().split())
    both = (predicted_words & true_words).total()
    return {"word_f1": 2 * both / max(predicted_words.total() + true_words.total(), 1)}


def palette_error(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """Return `lab_distance`: the mean CIE76 distance of colours uint8 (n, 3), (m, 3), in the best one-to-one matching.

    Unmatched colours of the larger palette are left out. A palette without colours cannot be measured.
    """
    if not (len(predicted) and len(true)):
        return {}
    few, many = sorted((to_lab(predicted), to_lab(true)), key=len)
    distances = np.linalg.norm(few[:, None] - many[None], axis=2)
    rows = np.arange(len(few))
    orders = np.array(list(permutations(range(len(many)), len(few))))
    return {"lab_distance": float(distances[rows, orders].mean(axis=1).min())}


def depth_error(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """Return `abs_rel` (mean |p - t| / t) and `delta_1.25` (share of pixels within that ratio) of the known pixels.

    The prediction has no unit, so it is first scaled and shifted to fit best (least squares; Ranftl et al. 2020).
    """
    target = resample_to(true, predicted.shape[:2])
    known = np.isfinite(target) & (target > 0) & np.isfinite(predicted)
    p, t = predicted[known].astype(np.float64), target[known].astype(np.float64)
    if not len(t):
        return {}
    (scale, shift), *_ = np.linalg.lstsq(np.stack([p, np.ones_like(p)], axis=1), t, rcond=None)
    fitted = np.maximum(scale * p + shift, _MIN_DEPTH)
    near = np.maximum(fitted / t, t / fitted) < _DELTA_RATIO
    return {"abs_rel": float((np.abs(fitted - t) / t).mean()), "delta_1.25": float(near.mean())}


def normal_error(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """Return `mean_degrees` and `median_degrees` between normals uint8 (H, W, 3); a component is x / 127.5 - 1."""
    target = _directions(resample_to(true, predicted.shape[:2]))
    cosines = np.clip((_directions(predicted) * target).sum(axis=2), -1, 1)
    degrees = np.degrees(np.arccos(cosines))
    return {"mean_degrees": float(degrees.mean()), "median_degrees": float(np.median(degrees))}


def edge_overlap(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """Return `edge_f1` in [0, 1]: the harmonic mean of the shares of each drawing's lines that the other has.

    Drawings are uint8 (H, W) of any polarity. A pixel belongs to a line if its ink has a quarter of the full strength.
    Lines may be off by one pixel on the grid of the prediction.
    """
    lines, target = ink(predicted) >= _FULL_INK / 4, _downsample_mask(ink(true) >= _FULL_INK / 4, predicted.shape)
    if not target.any():
        return {}
    precision = (lines & _dilate(target)).sum() / max(lines.sum(), 1)
    recall = (target & _dilate(lines)).sum() / target.sum()
    return {"edge_f1": float(2 * precision * recall / max(precision + recall, 1e-9))}


def _downsample_mask(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """The centre of a mask (H, W) on a grid of another shape: a cell is set if any of its pixels is."""
    high, wide = shape
    scale = min(mask.shape[0] / high, mask.shape[1] / wide)
    top, left = (mask.shape[0] - scale * high) / 2, (mask.shape[1] - scale * wide) / 2
    box = (left, top, left + scale * wide, top + scale * high)
    shown = Image.fromarray(mask.astype(np.float32)).resize((wide, high), Image.Resampling.BOX, box)
    return np.asarray(shown) > 0


def _dilate(mask: Mask) -> Mask:
    """The mask dilated by one pixel in all eight directions."""
    rows, columns = mask.shape
    padded = np.pad(mask, 1)
    shifts = [padded[down : down + rows, right : right + columns] for down in range(3) for right in range(3)]
    return cast(Mask, np.logical_or.reduce(shifts))


def metadata_error(predicted: Metadata, true: Metadata) -> Measures:
    """Return the shares of the true fields that were predicted at all (`fields`) and in the same bin (`same_bin`)."""
    fields = [name for name in true.values if name in FIELDS]
    if not fields:
        return {}
    known = [name for name in fields if name in predicted.values]
    bins = [tuple(FIELDS[name].to_bin(metadata.values[name]) for metadata in (predicted, true)) for name in known]
    return {"fields": len(known) / len(fields), "same_bin": sum(first == other for first, other in bins) / len(fields)}


def resample_to(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Crop a map (H, W, ...) to its centre with the proportions of `shape`, and resample it to `shape` (nearest)."""
    rows, columns = array.shape[:2]
    scale = min(rows / shape[0], columns / shape[1])
    places = [
        np.minimum((size - scale * count) / 2 + scale * (np.arange(count) + 0.5), size - 1).astype(np.int64)
        for size, count in ((rows, shape[0]), (columns, shape[1]))
    ]
    return array[np.ix_(*places)]


def _directions(normals: npt.NDArray[Any]) -> Float64Array:
    vectors = normals.astype(np.float64) / 127.5 - 1
    return cast(Float64Array, vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9))


# The measures of one thing, by modality; segmentation is measured over all things (`RegionOverlap`).
MEASURES: Mapping[str, Callable[[Any, Any], Measures]] = {
    "caption": word_overlap,
    "color_palette": palette_error,
    "depth": depth_error,
    "normal": normal_error,
    "canny_edge": edge_overlap,
    "metadata": metadata_error,
}
LOWER_IS_BETTER = frozenset({"lab_distance", "abs_rel", "mean_degrees", "median_degrees"})


class RegionOverlap:
    """Counts the pixels of segmentations by class name; COCO's different forms of a name count as one."""

    def __init__(self) -> None:
        self._pixels: list[dict[str, tuple[int, int]]] = []  # by class: in both, in either

    def add(self, predicted: Regions, true: Regions) -> None:
        """Count one thing. Pixels that have no name in the truth are left out."""
        target = _names(Regions(resample_to(true.ids, predicted.ids.shape), true.classes))
        known = target != ""
        target, output = target[known], _names(predicted)[known]
        names = np.unique(np.concatenate([target, output])).tolist()
        pixels = {name: (target == name, output == name) for name in names if name}
        self._pixels.append({name: (int((w & s).sum()), int((w | s).sum())) for name, (w, s) in pixels.items()})

    def __len__(self) -> int:
        return len(self._pixels)

    def mean(self) -> Estimate | None:
        """Return the mean over the true or predicted classes, with a 95% interval by resampling things."""
        names = sorted({name for pixels in self._pixels for name in pixels})
        if not names:
            return None
        counts = np.array([[pixels.get(name, (0, 0)) for name in names] for pixels in self._pixels])
        both, either = counts[:, :, 0], counts[:, :, 1]
        things = len(counts)
        drawn = np.random.default_rng(_SEED).multinomial(things, np.full(things, 1 / things), size=_RESAMPLES)
        low, high = np.quantile(_mean_over_classes(drawn @ both, drawn @ either), (0.025, 0.975))
        (value,) = _mean_over_classes(both.sum(axis=0)[None], either.sum(axis=0)[None])
        return Estimate(float(value), float(low), float(high))


def _mean_over_classes(both: Float64Array, either: Float64Array) -> Float64Array:
    """Average the ratio of pixels (n, classes) over the classes that have any: (n,)."""
    ratios = np.where(either > 0, both / np.maximum(either, 1), 0.0)
    means: Float64Array = ratios.sum(axis=1) / np.maximum((either > 0).sum(axis=1), 1)
    return means


def _names(regions: Regions) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    """Return the name of each pixel's class, empty if it has none."""
    ids, places = np.unique(regions.ids, return_inverse=True)
    names = np.array([_canonical_name(regions.classes.get(int(number), "")) for number in ids], np.str_)
    return names[places].reshape(regions.ids.shape)


def _canonical_name(name: str) -> str:
    label = label_of(name)
    return name.strip().lower() if label is None else LABELS[label]


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
    given: Sequence[str] = (PICTURE,),
) -> Outputs:
    """Predict the `predicted` modalities of each thing from those `given`, and measure them against the known values.

    Modalities that are not known of a thing or cannot be measured are skipped.

    Raises `NotAligned` if the set has no known values that can be measured.
    """
    targets = sorted(predicted & {*MEASURES, REGIONS} - {*given})
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    regions, unreadable = RegionOverlap(), list[str]()
    for batch in batches(aligned.samples, unreadable):
        progress(f"{aligned.name}: predicting from thing {next(iter(batch), 0) + 1:,} of {len(aligned.keys):,}")
        for sample in batch.values():
            for target in targets:
                if sample.values.keys() >= {*given, target}:
                    for measure, value in _measure(sample, given, target, predict, regions).items():
                        measured[target, measure].append(value)
    rows = [OutputRow(*key, len(values), estimate(np.array(values), np.mean)) for key, values in measured.items()]
    overlap = regions.mean()
    if overlap is not None:
        rows.append(OutputRow(REGIONS, "mean_iou", len(regions), overlap))
    if not rows:
        wanted = ", ".join(targets) or "anything"
        raise NotAligned(
            f"{aligned.name} has no {' + '.join(given)} with {wanted} that the model predicts and that has a measure"
        )
    return Outputs(aligned.name, tuple(given), tuple(sorted(rows, key=lambda row: row.modality)), tuple(unreadable))


def _measure(sample: Sample, given: Sequence[str], target: str, predict: Predict, regions: RegionOverlap) -> Measures:
    """The measures of one prediction; a segmentation whose ids have names is added to `regions` instead."""
    true = sample.values[target]
    if isinstance(true, Regions) and not true.classes:
        return {}
    value = predict({name: sample.values[name] for name in given}, target)
    if isinstance(value, Regions) and isinstance(true, Regions):
        regions.add(value, true)
        return {}
    return MEASURES[target](value, true)
