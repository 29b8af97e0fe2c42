"""The space `colours`: which colours a picture has, so that one cosine compares a palette with it. Nothing is trained.

A vector is a histogram over a grid of colours in CIE L*a*b*. Each colour counts in all bins around it, by a Gaussian
of their distance, so near colours share bins and the cosine falls smoothly as colours differ. This is the histogram
distance with similarities across bins (Hafner et al. 1995, "Efficient color histogram indexing for quadratic form
distance functions") as an inner product. Square roots of the shares keep large areas from outweighing the rest.
All colours of a palette count the same. The constants were chosen on emoji of the training split.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import EmbeddingSpace, FloatArray, Sample, Value

Float64Array = npt.NDArray[np.float64]

# CIE 1931 XYZ of linear sRGB, and the white point D65 (IEC 61966-2-1)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def to_lab(colours: npt.NDArray[Any]) -> Float64Array:
    """Convert sRGB uint8 (n, 3) to CIE L*a*b* under D65 (n, 3)."""
    share = colours.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(light > (6 / 29) ** 3, np.cbrt(light), light * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = bent.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


COLOURS = "colours"
PICTURE, PALETTE = "rgb", "color_palette"

_VERSION = "1"  # part of the fingerprint: raise it whenever a vector changes
_STEP = 20.0  # between bins, in L*a*b*
_BANDWIDTH = 12.0  # standard deviation of the Gaussian that spreads a colour over bins
_SIDE = 64  # a picture's colours are counted at this size
_LEVELS = 32  # of red, green and blue, to which a picture's colours are rounded first
_BORDER_DISTANCE = 24  # a pixel nearer than this to the border's colour belongs to the background
_UNIFORM = 0.8  # the share of a border that has one colour where there is a background
_MIN_FOREGROUND = 0.02
_BACKGROUND = 0.03  # how much a pixel of the background counts: white still finds icons on white, but last


def _bins() -> Float64Array:
    """The points (n, 3) of the grid that sRGB comes nearest to."""
    levels = np.arange(0, 256, 15)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    points: Float64Array = np.unique(np.round(to_lab(cube) / _STEP), axis=0) * _STEP
    return points


_BINS = _bins()
DIMENSION = len(_BINS) + 1  # the last axis is that of samples without colours


@dataclass(frozen=True)
class ColourSpace:
    """The space `space`, computed of samples themselves. Safe for many threads."""

    space: EmbeddingSpace

    def vectors(self, samples: Sequence[Sample], gallery: bool) -> FloatArray:
        """Unit vectors float32 (n, d): of a sample's picture and palette; in a gallery of the picture if it has one.

        A sample with neither has the last axis, which no palette comes near to.
        """
        rows = [_vector(sample.values, gallery) for sample in samples]
        return np.stack(rows) if rows else np.zeros((0, DIMENSION), np.float32)


def colour_space(instead: str) -> ColourSpace:
    """The space; `instead` names the one that answers in collections that lack it."""
    fingerprint = hashlib.sha256(f"{COLOURS} {_VERSION}".encode()).hexdigest()
    prior = np.zeros(DIMENSION, np.float32)
    known = frozenset({PICTURE, PALETTE})
    return ColourSpace(EmbeddingSpace(COLOURS, DIMENSION, fingerprint, prior, modalities=known, instead=instead))


def _vector(values: Mapping[str, Value], gallery: bool) -> FloatArray:
    known = [name for name in (PICTURE, PALETTE) if name in values]
    total = np.zeros(DIMENSION)
    for name in known[:1] if gallery else known:
        value = np.asarray(values[name], np.uint8)
        shares = picture_histogram(value) if name == PICTURE else palette_histogram(value)
        total[:-1] += np.sqrt(shares)  # of length 1, since shares add up to 1
    if not known:
        total[-1] = 1.0
    return (total / np.linalg.norm(total)).astype(np.float32)


def palette_histogram(palette: ByteArray) -> Float64Array:
    """The share of each bin in colours uint8 (n, 3), which count the same: (d - 1,)."""
    return _soft_histogram(palette, np.ones(len(palette)))


def picture_histogram(picture: ByteArray) -> Float64Array:
    """The share of each bin in a picture uint8 (H, W, 3), whose background hardly counts: (d - 1,)."""
    small = np.asarray(Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    rounded = small.reshape(-1, 3).astype(np.int64) * _LEVELS // 256
    codes, places = np.unique(rounded @ np.array([_LEVELS**2, _LEVELS, 1]), return_inverse=True)
    weights = np.bincount(places.ravel(), weights=_weights(small).ravel(), minlength=len(codes))
    levels = np.stack([codes // _LEVELS**2, codes // _LEVELS % _LEVELS, codes % _LEVELS], axis=1)
    width = 256 // _LEVELS
    return _soft_histogram(levels * width + width // 2, weights)


def _weights(picture: ByteArray) -> Float64Array:
    """The weight of each pixel (H, W, 3): (H, W). A border of one colour makes that colour the background."""
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    colour = np.median(border, axis=0)
    foreground = np.abs(picture - colour).max(axis=2) >= _BORDER_DISTANCE
    uniform = float((np.abs(border - colour).max(axis=1) < _BORDER_DISTANCE).mean())
    if uniform < _UNIFORM or foreground.mean() < _MIN_FOREGROUND:
        return np.ones(foreground.shape)
    return np.where(foreground, 1.0, _BACKGROUND)


def _soft_histogram(colours: npt.NDArray[Any], weights: npt.NDArray[Any]) -> Float64Array:
    """The share of each bin (d - 1,) in colours (n, 3) that count so much (n,); each belongs to all bins near it."""
    points = to_lab(colours)
    # |a - b|² as |a|² + |b|² - 2ab: a product of matrices takes a fraction of the time of all differences. What |a|²
    # contributes is the same for all bins of a colour, so dividing by the sum over bins takes it out again.
    near = points @ (_BINS.T / _BANDWIDTH**2)
    near -= (_BINS**2).sum(axis=1) / (2 * _BANDWIDTH**2)
    near -= near.max(axis=1, keepdims=True)
    np.exp(near, out=near)
    shares: Float64Array = (weights / weights.sum() / near.sum(axis=1)) @ near
    return shares
