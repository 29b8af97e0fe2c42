"""How far what a model predicts is from what is there, modality by modality. NumPy and Pillow only.

Maps are compared on the grid of the prediction: of a map that is no square its centre, as models see pictures.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.drawing import ink
from model.embedder import Value
from model.formats.metadata import FIELDS, Metadata

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Measures = dict[str, float]
_FULL_INK = 255
_NEAR = 1.25  # the ratio within which a depth counts as right
_LEAST_DEPTH = 1e-6
# CIE 1931 XYZ of linear sRGB, and the white point D65 (IEC 61966-2-1)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def word_overlap(predicted: str, true: str) -> Measures:
    """`word_f1` in [0, 1]: the harmonic mean of the shares of words that both texts have, in any order."""
    said, wanted = Counter(predicted.lower().split()), Counter(true.lower().split())
    both = (said & wanted).total()
    return {"word_f1": 2 * both / max(said.total() + wanted.total(), 1)}


def palette_error(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """`lab_distance`: mean CIE76 distance of colours uint8 (n, 3), (m, 3), matched one to one as well as can be.

    The larger palette's colours that have no partner are left out.
    """
    few, many = sorted((to_lab(predicted), to_lab(true)), key=len)
    distances = np.linalg.norm(few[:, None] - many[None], axis=2)
    rows = np.arange(len(few))
    orders = np.array(list(permutations(range(len(many)), len(few))))
    return {"lab_distance": float(distances[rows, orders].mean(axis=1).min())}


def to_lab(colours: npt.NDArray[Any]) -> Numbers:
    """sRGB uint8 (n, 3) -> CIE L*a*b* under D65 (n, 3)."""
    share = colours.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(light > (6 / 29) ** 3, np.cbrt(light), light * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = bent.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def depth_error(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """`abs_rel` (mean |p - t| / t) and `delta_1.25` (share of pixels within that ratio), where the truth is known.

    The prediction, which has no unit, is given the scale and shift that fit best (least squares; Ranftl et al. 2020).
    """
    wanted = on_grid(true, predicted.shape[:2])
    known = np.isfinite(wanted) & (wanted > 0) & np.isfinite(predicted)
    p, t = predicted[known].astype(np.float64), wanted[known].astype(np.float64)
    if not len(t):
        return {}
    (scale, shift), *_ = np.linalg.lstsq(np.stack([p, np.ones_like(p)], axis=1), t, rcond=None)
    fitted = np.maximum(scale * p + shift, _LEAST_DEPTH)
    near = np.maximum(fitted / t, t / fitted) < _NEAR
    return {"abs_rel": float((np.abs(fitted - t) / t).mean()), "delta_1.25": float(near.mean())}


def normal_error(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """`mean_degrees` and `median_degrees` between normals uint8 (H, W, 3), x / 127.5 - 1 being a component."""
    wanted = _directions(on_grid(true, predicted.shape[:2]))
    cosines = np.clip((_directions(predicted) * wanted).sum(axis=2), -1, 1)
    degrees = np.degrees(np.arccos(cosines))
    return {"mean_degrees": float(degrees.mean()), "median_degrees": float(np.median(degrees))}


def edge_overlap(predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Measures:
    """`edge_f1` in [0, 1]: the harmonic mean of the shares of either drawing's lines that are in the other.

    Drawings uint8 (H, W) of any polarity. A line is there where ink has a quarter of its full strength; on the grid of
    the prediction it may be a pixel off.
    """
    said, wanted = ink(predicted) >= _FULL_INK / 4, _seen_in_cells(ink(true) >= _FULL_INK / 4, predicted.shape)
    if not wanted.any():
        return {}
    right, found = (said & _grown(wanted)).sum() / max(said.sum(), 1), (wanted & _grown(said)).sum() / wanted.sum()
    return {"edge_f1": float(2 * right * found / max(right + found, 1e-9))}


def _seen_in_cells(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Whether anything of the centre of a mask (H, W) is in each cell of a grid of that shape."""
    high, wide = shape
    scale = min(mask.shape[0] / high, mask.shape[1] / wide)
    top, left = (mask.shape[0] - scale * high) / 2, (mask.shape[1] - scale * wide) / 2
    box = (left, top, left + scale * wide, top + scale * high)
    shown = Image.fromarray(mask.astype(np.float32)).resize((wide, high), Image.Resampling.BOX, box)
    return np.asarray(shown) > 0


def _grown(mask: Mask) -> Mask:
    """A mask with all neighbours of its pixels."""
    rows, columns = mask.shape
    padded = np.pad(mask, 1)
    shifts = [padded[down : down + rows, right : right + columns] for down in range(3) for right in range(3)]
    return cast(Mask, np.logical_or.reduce(shifts))


def metadata_error(predicted: Metadata, true: Metadata) -> Measures:
    """`fields` and `same_bin`: shares of the true fields that were predicted at all, and in the same bin."""
    asked = [name for name in true.values if name in FIELDS]
    if not asked:
        return {}
    given = [name for name in asked if name in predicted.values]
    bins = [tuple(FIELDS[name].to_bin(one.values[name]) for one in (predicted, true)) for name in given]
    return {"fields": len(given) / len(asked), "same_bin": sum(one == other for one, other in bins) / len(asked)}


def on_grid(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The centre of a map (H, W, ...), cut to the proportions of `shape`, at the nearest pixels of that many."""
    rows, columns = array.shape[:2]
    scale = min(rows / shape[0], columns / shape[1])
    places = [
        np.minimum((size - scale * count) / 2 + scale * (np.arange(count) + 0.5), size - 1).astype(np.int64)
        for size, count in ((rows, shape[0]), (columns, shape[1]))
    ]
    return array[np.ix_(*places)]


def _directions(normals: npt.NDArray[Any]) -> Numbers:
    vectors = normals.astype(np.float64) / 127.5 - 1
    return cast(Numbers, vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9))


# What is measured of one thing, by modality; segmentation is measured over all things (`search.evaluation.regions`).
MEASURES: Mapping[str, Callable[[Any, Any], Measures]] = {
    "caption": word_overlap,
    "color_palette": palette_error,
    "depth": depth_error,
    "normal": normal_error,
    "canny_edge": edge_overlap,
    "metadata": metadata_error,
}
LOWER_IS_BETTER = frozenset({"lab_distance", "abs_rel", "mean_degrees", "median_degrees"})


def measures_of(modality: str, predicted: Value, true: Value) -> Measures:
    """What is measured of one prediction; nothing where it cannot be, such as a palette without colours."""
    if modality == "color_palette" and not (len(cast(Any, predicted)) and len(cast(Any, true))):
        return {}
    return MEASURES[modality](predicted, true)
