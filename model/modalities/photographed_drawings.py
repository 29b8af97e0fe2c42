"""Clean photographed drawings: remove shadows, the table around the paper, its slant, ruled lines and pen colour.

A drawing made by a program has paper of one shade and is not changed. NumPy and Pillow only.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray

SIDE = 512  # pixels of the longer side; the sizes below are for it
_ONE_SHADE, _WITHIN = 0.4, 3  # paper of one shade: so many pixels differ by no more from the most frequent one
_BACKGROUND_SIDE, _WIDEST_STROKE = 128, 17  # what the paper's shade is looked for in, and what is a stroke there
_MIN_PAPER, _MAX_PAPER, _FIT = 0.15, 0.97, 0.93  # shares of a photo; how well four corners must cover the paper
_LEVELS = (1.0, 0.9, 0.8, 0.7, 0.6)  # of the threshold between paper and table
_INSET = 0.025  # of the paper's sides: its edges are no strokes
_FAINTEST, _ABOVE_NOISE = 0.1, 5.0  # ink, of the paper's light; and in deviations of the paper's noise
_MAX_INK = 0.35  # of the sheet: more is no drawing on paper
_RULED_WINDOW, _MIN_RULES = 8, 6  # ruled lines run on through eighths of the sheet, and are at least six
_DARKEST, _STROKE, _FULL = 97, 0.42, 0.7  # a percentile of the ink, and shares of it
_MARGIN = 0.06

Mask = npt.NDArray[np.bool_]
Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CleanedDrawing:
    """Dark strokes on white, uint8 (H, W), and the names of what was removed."""

    drawing: ByteArray
    removed: tuple[str, ...]


def is_photographed(grey: ByteArray) -> bool:
    """Whether the paper of a drawing (H, W) has many shades, as only light and noise make them."""
    counts = np.bincount(grey.reshape(-1), minlength=256)
    shade = int(counts.argmax())
    alike = counts[max(shade - _WITHIN, 0) : shade + _WITHIN + 1].sum()
    return bool(alike < _ONE_SHADE * grey.size)


def clean_drawing(picture: ByteArray) -> CleanedDrawing | None:
    """The drawing on a photograph uint8 (H, W, 3); None if no paper with a drawing is found."""
    photo = Image.fromarray(picture)
    photo.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    corners = _find_paper(photo)
    sheet = photo if corners is None else _rectify(photo, corners)
    ink = _ink_map(sheet)
    # Subtract lines that cross a whole window, which strokes seldom do.
    running = np.maximum(_ruled_lines(ink), _ruled_lines(np.ascontiguousarray(ink.T)).T)
    plain = np.asarray(np.clip(ink - running, 0, 1), np.float32)
    ruled = float(np.mean(ink - plain > _FAINTEST)) > 0.01
    strength = _strokes(plain)
    if not strength.any() or np.mean(strength > 0) > _MAX_INK:
        return None
    more = {"the table and the slant": corners is not None, "ruled lines": ruled}
    removed = ("light and shadow", *(name for name, there in more.items() if there))
    return CleanedDrawing(255 - _crop(strength), removed)


def _find_paper(photo: Image.Image) -> Corners | None:
    """The corners of a sheet brighter than its background, clockwise from top left; None without one."""
    # Paper is bright in each channel, wood only in red.
    small = Image.fromarray(np.asarray(photo).min(axis=2))
    small.thumbnail((_BACKGROUND_SIDE, _BACKGROUND_SIDE), Image.Resampling.BOX)
    bright = np.asarray(small.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(5)), np.float32)
    level = _threshold(bright)
    candidates = [
        _quadrilateral(_central_component(bright > level * share)) for share in _LEVELS
    ]  # a shadow needs a lower one
    fit, corners = max(candidates, key=lambda candidate: candidate[0])
    if fit < _FIT:
        return None
    scale = photo.width / small.width
    return tuple(((x + 0.5) * scale, (y + 0.5) * scale) for x, y in corners)


def _quadrilateral(mask: Mask) -> tuple[float, Corners]:
    """The outermost corners of a mask, and how well the quadrilateral between them covers it: 0 to 1."""
    if not _MIN_PAPER < mask.mean() < _MAX_PAPER:
        return 0.0, ()
    rows, columns = np.nonzero(mask)
    ends = [int((rows + columns).argmin()), int((columns - rows).argmax()), int((rows + columns).argmax())]
    ends.append(int((columns - rows).argmin()))
    corners = tuple((float(columns[place]), float(rows[place])) for place in ends)
    height, width = mask.shape
    if any(x in (0, width - 1) and y in (0, height - 1) for x, y in corners):  # the photo's own corner
        return 0.0, ()
    drawn = Image.new("1", (width, height))
    ImageDraw.Draw(drawn).polygon(corners, fill=1)
    covered = np.asarray(drawn)
    return float((covered & mask).sum() / (covered | mask).sum()), corners


def _threshold(grey: FloatArray) -> float:
    """Otsu's threshold: the level that maximises the variance between the pixels below and above it."""
    counts = np.bincount(grey.astype(np.uint8).reshape(-1), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    sums = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    means = sums / np.maximum(below, 1) - (sums[-1] - sums) / np.maximum(above, 1)
    return float((below * above * means**2).argmax())


def _central_component(mask: Mask) -> Mask:
    """The connected part of the mask around its middle."""
    if not mask.any():
        return mask
    rows, columns = np.nonzero(mask)
    middle = int(np.hypot(rows - np.median(rows), columns - np.median(columns)).argmin())
    image = Image.fromarray(mask.astype(np.uint8)).copy()  # or it is written elsewhere
    ImageDraw.floodfill(image, (int(columns[middle]), int(rows[middle])), 2)
    return cast(Mask, np.asarray(image) == 2)


def _rectify(photo: Image.Image, corners: Corners) -> Image.Image:
    """The sheet between the corners as a rectangle, without its edges."""
    points = np.array(corners)
    centre = points.mean(axis=0)
    points = centre + (points - centre) * (1 - 2 * _INSET)
    sides = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    width, height = (max(32, int(max(sides[first], sides[first + 2]))) for first in (0, 1))
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    numbers = _perspective_coefficients(target, points)
    return photo.transform((width, height), Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BICUBIC)


def _perspective_coefficients(target: npt.NDArray[np.float64], source: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """The eight coefficients with which Pillow maps points of the target to points of the source."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return tuple(np.linalg.lstsq(np.array(rows), source.reshape(-1), rcond=None)[0].tolist())


def _ink_map(sheet: Image.Image) -> FloatArray:
    """Ink per pixel: the light it lacks relative to the paper around it, in the darkest channel: [0, 1] (H, W)."""
    small = sheet.copy()
    small.thumbnail((_BACKGROUND_SIDE, _BACKGROUND_SIDE), Image.Resampling.BOX)
    paper = small.filter(ImageFilter.MaxFilter(_WIDEST_STROKE)).filter(ImageFilter.MinFilter(_WIDEST_STROKE))
    paper = paper.filter(ImageFilter.GaussianBlur(3)).resize(sheet.size, Image.Resampling.BICUBIC)
    seen = np.asarray(sheet.filter(ImageFilter.MedianFilter(3)), np.float32)
    light = seen / np.maximum(np.asarray(paper, np.float32), 1)
    return np.asarray(1 - np.clip(light.min(axis=2), 0, 1), np.float32)


def _ruled_lines(ink: FloatArray) -> FloatArray:
    """Horizontal ruled lines: the median of each row of a window where many windows agree, 0 elsewhere."""
    if ink.shape[1] < _RULED_WINDOW:
        return np.zeros_like(ink)
    windows = np.array_split(ink, _RULED_WINDOW, axis=1)
    medians = np.stack([np.median(window, axis=1) for window in windows], axis=1)
    base = np.median(medians, axis=0, keepdims=True)
    runs = np.clip(medians - base, 0, 1)
    # A ruled line is in most windows side by side; a stroke is in few.
    shared = np.median(np.stack([np.roll(runs, shift, axis=0) for shift in (-2, -1, 0, 1, 2)]).max(axis=0), axis=1)
    ruled = shared > _FAINTEST / 2
    if np.count_nonzero(ruled[1:] & ~ruled[:-1]) < _MIN_RULES:
        return np.zeros_like(ink)
    runs = np.where(ruled[:, None], runs, 0)
    widths = [window.shape[1] for window in windows]
    return np.asarray(np.repeat(runs, widths, axis=1), np.float32)


def _strokes(ink: FloatArray) -> ByteArray:
    """Ink above the paper's noise, at full strength where it is darkest: uint8 (H, W)."""
    height, width = ink.shape
    edge_rows, edge_columns = max(1, int(height * _INSET)), max(1, int(width * _INSET))
    inside = np.zeros_like(ink)
    inside[edge_rows:-edge_rows, edge_columns:-edge_columns] = ink[edge_rows:-edge_rows, edge_columns:-edge_columns]
    middle = float(np.median(ink))
    noise = 1.4826 * float(np.median(np.abs(ink - middle)))
    least = max(_FAINTEST, middle + _ABOVE_NOISE * noise)
    inked = inside[inside > least]
    if not inked.size:
        return np.zeros(ink.shape, np.uint8)
    darkest = float(np.percentile(inked, _DARKEST))
    least = max(least, _STROKE * darkest)  # printed rules are fainter than a pen
    most = max(_FULL * darkest, least + 0.02)
    strength = np.clip((inside - least) / (most - least), 0, 1)
    return cast(ByteArray, np.rint(strength * 255).astype(np.uint8))


def _crop(strength: ByteArray) -> ByteArray:
    """Crop to the drawing with a margin; the caller pads it to a square. Isolated specks are ignored."""
    solid = np.asarray(Image.fromarray(strength).filter(ImageFilter.MedianFilter(3))) > 64
    rows, columns = np.nonzero(solid if solid.any() else strength > 64)
    if not len(rows):
        return strength
    margin = 2 + int(_MARGIN * max(np.ptp(rows), np.ptp(columns)))
    top, left = max(int(rows.min()) - margin, 0), max(int(columns.min()) - margin, 0)
    return strength[top : int(rows.max()) + margin + 1, left : int(columns.max()) + margin + 1]
