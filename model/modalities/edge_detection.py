"""Edge detection: Canny edges, soft edges and thinned strokes. NumPy and Pillow only."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray

_WEAK = 0.4  # of the strong threshold
_FAINTEST = 2.0  # grey levels a pixel: flatter than this is noise
_SOFT_SCALES = (1.0, 2.0, 4.0)  # pixels
_SOFT_PEAK = 0.99  # the quantile that is drawn at full strength


def canny(picture: ByteArray, blur: float, quiet: float) -> ByteArray:
    """Edges of uint8 (H, W, 3), one pixel wide: uint8 (H, W), 255 or 0 (Canny, "A computational approach...", 1986).

    `blur` is the Gaussian's deviation in pixels; a share `quiet` of the pixels is below the strong threshold.
    """
    grey = Image.fromarray(picture).convert("L").filter(ImageFilter.GaussianBlur(blur))
    across, down = _sobel(np.asarray(grey, np.float32))
    strength = np.hypot(across, down)
    thin = _suppress_non_maxima(strength, across, down)
    high = max(float(np.quantile(strength, quiet)), _FAINTEST)
    return (_hysteresis(thin > high, thin > high * _WEAK) * 255).astype(np.uint8)


def random_canny(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    """Canny edges with a blur from 0.8 to 2.2 pixels and thresholds at random, from sketchy to detailed."""
    return canny(picture, float(generator.uniform(0.8, 2.2)), float(generator.uniform(0.88, 0.96)))


def soft_edges(picture: ByteArray) -> ByteArray:
    """Soft edges of uint8 (H, W, 3): gradient magnitude over three scales: uint8 (H, W), 0 to 255.

    The mean of the Gaussian gradients at 1, 2 and 4 pixels, each times its scale, the strongest channel counting. Like
    learned edges (HED) it is thick and graded; unlike them it knows nothing of objects.
    """
    total = np.zeros(picture.shape[:2], np.float32)
    for scale in _SOFT_SCALES:
        blurred = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(scale)), np.float32)
        channels = [np.hypot(*_sobel(blurred[:, :, channel])) for channel in range(3)]
        total += scale * np.max(channels, axis=0)
    peak = max(float(np.quantile(total, _SOFT_PEAK)), _FAINTEST * sum(_SOFT_SCALES))
    graded: ByteArray = np.rint(np.clip(total / peak, 0, 1) * 255).astype(np.uint8)
    return graded


def _sobel(grey: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sobel gradients per pixel, rightwards and downwards, of float32 (H, W); the border is replicated."""
    padded: FloatArray = np.pad(grey, 1, mode="edge")
    rows: FloatArray = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / np.float32(8)
    columns: FloatArray = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / np.float32(8)
    return rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]


def _suppress_non_maxima(strength: FloatArray, across: FloatArray, down: FloatArray) -> FloatArray:
    """Non-maximum suppression across the edge, in the nearest of four directions."""
    sector = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(np.int64) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    kept = np.zeros_like(strength)
    for direction, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        here = (sector == direction) & (strength >= ahead) & (strength > behind)
        kept[here] = strength[here]
    return kept


def _hysteresis(strong: npt.NDArray[np.bool_], weak: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Hysteresis: strong pixels, and the weak pixels connected to them."""
    edges = np.pad(strong, 1)
    allowed = np.pad(strong | weak, 1)
    while True:
        rows = edges[:-2] | edges[1:-1] | edges[2:]
        grown = (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]) & allowed[1:-1, 1:-1]
        if np.array_equal(grown, edges[1:-1, 1:-1]):
            return grown
        edges[1:-1, 1:-1] = grown


BoolArray = npt.NDArray[np.bool_]

_INKED = 64  # ink weaker than this is the blur beside a stroke
_SOLID = 9  # pixels: what is at least this thick is a shape, of which an edge detector sees the outline


def edge_lines(strength: ByteArray) -> ByteArray:
    """Ink uint8 (H, W), 0 for paper, as thin lines: uint8 (H, W) of 0 and 255.

    Strokes become their middle lines, solid shapes their outlines.
    """
    inked = strength >= _INKED
    # What remains of the ink where a square of `_SOLID` pixels fits into it.
    solid = _rank_filter(_rank_filter(inked, ImageFilter.MinFilter(_SOLID)), ImageFilter.MaxFilter(_SOLID))
    outlines = solid & ~_rank_filter(solid, ImageFilter.MinFilter(3))
    return np.where(outlines | thin_strokes(inked & ~solid), 255, 0).astype(np.uint8)


def thin_strokes(inked: BoolArray) -> BoolArray:
    """Strokes bool (H, W) worn down from both sides to lines one pixel wide (Zhang and Suen, 1984)."""
    current = inked.copy()
    while True:
        before = current
        for first_half in (True, False):
            current = current & ~_removable(current, first_half=first_half)
        if np.array_equal(before, current):
            return current


def _removable(inked: BoolArray, *, first_half: bool) -> BoolArray:
    """The pixels on the south-east, or then the north-west, side of a stroke that do not hold it together."""
    height, width = inked.shape
    padded = np.pad(inked, 1)  # beyond the border there is no ink
    offsets = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))  # clockwise from the one above
    around = [padded[row : row + height, column : column + width] for row, column in offsets]
    north, _, east, _, south, _, west, _ = around
    count = np.sum(around, axis=0)
    changes = np.sum([~a & b for a, b in zip(around, [*around[1:], around[0]], strict=True)], axis=0)
    if first_half:
        side = ~(north & east & south) & ~(east & south & west)
    else:
        side = ~(north & east & west) & ~(north & south & west)
    return np.asarray(inked & (count >= 2) & (count <= 6) & (changes == 1) & side)


def _rank_filter(inked: BoolArray, kernel: ImageFilter.RankFilter) -> BoolArray:
    return np.asarray(Image.fromarray(inked.astype(np.uint8)).filter(kernel)) > 0
