"""What the numbers of a depth map mean: distances, brightness that falls with distance, or inverse distances.

A file rarely says it. Two things tell: what holds such numbers (16 bits that are not used to the end come from a
sensor, in millimetres or another unit of distance), and the scene. Almost everywhere the bottom edge of a picture is
nearer than its middle. The unit makes no difference to a model, which sees the order of distances and their ratios.
"""

import io
import math
import re
import zipfile
from dataclasses import dataclass, replace

import numpy as np

from anyseek.model.modalities.reading.arrays import MAP_AXES, NumberArray, is_npy, picked, read_npy
from anyseek.model.modalities.reading.encoded import WORKING_SIDE, Encoded, Reading, Understood, told_form
from anyseek.model.modalities.reading.errors import BadMap, FormatNotInstalled, TooManyBytes
from anyseek.model.modalities.reading.pictures import decoding, load_picture
from anyseek.model.seam import FloatArray

_GREY_MODES = frozenset({"L", "I", "I;16", "I;16B", "I;16L", "F"})
_COLOUR_MODES = frozenset({"LA", "RGB", "RGBA", "P"})
_NPZ, _EXR = b"PK\x03\x04", b"\x76\x2f\x31\x01"
_DEPTH_ARRAY = re.compile("depth|distance|range|z|disp|inv")
_EXR_CHANNELS = ("Z", "depth", "Depth", "V", "Y", "R")  # the likeliest first


@dataclass(frozen=True)
class DepthNumbers:
    """The numbers of a map as they are stored: real numbers (H, W).

    `full` is the largest that a pixel of the file can hold, None for floats. `called` is what the file calls them.
    """

    values: NumberArray
    full: int | None
    called: str


def read_depth_numbers(file: Encoded) -> DepthNumbers:
    """Raises `DecodeError`: for colours among others, whose order only their maker knows."""
    if is_npy(file):
        return DepthNumbers(read_npy(file, MAP_AXES), None, file.name)
    if file.data.startswith(_NPZ):
        return _read_npz(file)
    if file.data.startswith(_EXR):
        return _read_exr(file)
    return _read_picture(file)


def _read_picture(file: Encoded) -> DepthNumbers:
    image = load_picture(file)
    if image.mode not in _GREY_MODES | _COLOUR_MODES:
        raise BadMap(f"{file.name} is a picture of kind {image.mode}; a map has one number per pixel (a grey PNG)")
    with decoding(file.name):
        values = np.asarray(image if image.mode in _GREY_MODES else image.convert("RGB"))
    if values.ndim == 3:  # grey that was stored in colour: JPEG lets channels differ a little
        apart = values.max(axis=2).astype(np.int16) - values.min(axis=2)
        if int(apart.max(initial=0)) > 8:
            raise BadMap(f"{file.name} is a picture in colours; a depth map has one number per pixel: send it in grey")
        values = values[:, :, 1]
    full = {"L": 255, "F": None}.get(image.mode, 255 if image.mode in _COLOUR_MODES else 65535)
    return DepthNumbers(values, full, file.name)


def _read_npz(file: Encoded) -> DepthNumbers:
    """The array of an NPZ archive: its only one, or the one that is called depth, distance, disparity or inverse."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist() if entry.filename.endswith(".npy")}
            named = list(sizes) if len(sizes) == 1 else [name for name in sizes if _DEPTH_ARRAY.search(name.lower())]
            if len(named) != 1:
                held = ", ".join(list(sizes)[:8]) or "nothing"
                raise BadMap(f"{file.name} holds {held}; an NPZ archive with one array, or one called depth, is wanted")
            (name,) = named
            if sizes[name] > file.limits.bytes_per_file:
                raise TooManyBytes(f"{file.name}: {name} has {sizes[name]:,} bytes, which is more than is allowed")
            data = archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise BadMap(f"{file.name} is a damaged NPZ archive: {error}") from error
    inner = replace(file, data=data, name=f"{file.name}: {name.removesuffix('.npy')}")
    return DepthNumbers(read_npy(inner, MAP_AXES), None, inner.name)


def _read_exr(file: Encoded) -> DepthNumbers:
    try:
        import OpenEXR
    except ImportError as error:
        raise FormatNotInstalled(f"{file.name} is OpenEXR, which needs pip install 'anyseek[exr]'") from error
    with decoding(file.name):
        header = OpenEXR.File(io.BytesIO(file.data), separate_channels=True, header_only=True).header()
        low, high = header["dataWindow"]
        width, height = (int(side) + 1 for side in high - low)
        file.take_pixels(width * height, f"{width} x {height} pixels")
        channels = OpenEXR.File(io.BytesIO(file.data), separate_channels=True).channels()
        ranks = {name: name.rpartition(".")[2] for name in channels}
        known = [name for name, last in ranks.items() if last in _EXR_CHANNELS]
        if not known:
            held = ", ".join(list(channels)[:8])
            raise BadMap(f"{file.name} has the channels {held}; a depth map has Z, V, Y or R")
        name = min(known, key=lambda name: _EXR_CHANNELS.index(ranks[name]))
        return DepthNumbers(np.asarray(channels[name].pixels), None, f"{file.name}: {name}")


FAR_BRIGHT, NEAR_BRIGHT, INVERSE = "far-bright", "near-bright", "inverse"
FORMS = {
    FAR_BRIGHT: "larger is farther",
    NEAR_BRIGHT: "larger is nearer",
    INVERSE: "larger is nearer, as 1 / distance",
}

_ROWS = 6  # the scene's rank of distances is compared between rows 2 to 4 of so many and the last
# Log odds of "larger is farther". The scene's are `_SCENE` times the difference of mean ranks, which is from -1 to 1;
# `_SCENE` is the slope of a logistic fit on the rooms alone (`anyseek eval --suite queries` gives what it finds).
_SCENE, _SENSOR, _LONG, _NAMED = 11.0, 7.0, 1.5, 4.0
_LONG_DISTANCE = 5.0  # inverse distances in 1/m are seldom as large
_SENTINEL = 4.0  # the largest number is no measurement if the second largest is smaller by this factor
_NEARNESS, _DISTANCE = re.compile("dispar|inverse|inv_?depth|midas"), re.compile("distance|metres|meters|_mm\\b")


# What speaks for larger being farther (log odds above 0) or nearer (below 0), in words.
_Ground = tuple[float, str]


def decode_depth(file: Encoded) -> FloatArray:
    """A depth map in which larger is farther: float32 (H, W), NaN where it is 0 or not finite, thus not measured.

    Large maps keep every n-th pixel. Raises `DecodeError`.
    """
    return _distances(file, read_depth_numbers(file).values)


def understand_depth(file: Encoded) -> Reading:
    """A depth map of any form in FORMS, guessed unless `file.form` names it: float32 (H, W), larger is farther.

    Numbers that mark what was not measured (0, NaN, the format's largest) become NaN. Raises `DecodeError`.
    """
    numbers = read_depth_numbers(file)
    values = _measured(numbers, _distances(file, numbers.values))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low == high:
        raise BadMap(f"{file.name} is {low:g} wherever it was measured; a depth map has near and far places")
    told = told_form(file, FORMS)
    form, sure, why = (told, 1.0, "as you said") if told else _guess(numbers, values, low)
    sentence = f"{file.name} is a depth map in which {FORMS[form]}: {why}"
    if form == NEAR_BRIGHT:
        values = np.asarray(low + high - values, np.float32)
    elif form == INVERSE:
        values = np.asarray(1 / np.maximum(values, 1e-6 * high), np.float32)
    return Reading(values, Understood(file.name, form, sure, sentence))


def _distances(file: Encoded, values: NumberArray) -> FloatArray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, thus not measured
        depth = picked(values, file.side).astype(np.float32)
    depth[~np.isfinite(depth) | (depth == 0)] = np.nan
    if np.isnan(depth).all():
        raise BadMap(f"{file.name} has no measured pixel: all are 0 or not a number")
    return depth


def _measured(numbers: DepthNumbers, depth: FloatArray) -> FloatArray:
    """Without numbers that stand for "nothing": the only negative one, or a largest one far from all others."""
    if np.nanmax(depth) < 0:  # along an axis that points at the viewer
        return -depth
    levels = np.unique(depth[np.isfinite(depth)])
    marks = []
    if len(levels) > 2 and levels[0] < 0 < levels[1]:
        marks.append(levels[0])
    full = numbers.full is None or levels[-1] == numbers.full
    if len(levels) > 2 and full and 0 < levels[-2] * _SENTINEL < levels[-1]:
        marks.append(levels[-1])
    return np.where(np.isin(depth, marks), np.float32(np.nan), depth)


def _guess(numbers: DepthNumbers, values: FloatArray, low: float) -> tuple[str, float, str]:
    """The likeliest form, how sure that is, and why."""
    called, largest = numbers.called.lower(), float(np.nanmax(values))
    grounds = [_by_scene(values)]
    if numbers.full is None and largest > _LONG_DISTANCE:
        grounds.insert(0, (_LONG, "its numbers are as large as distances"))
    elif numbers.full is not None and numbers.full > 255 and largest < numbers.full:
        grounds.insert(0, (_SENSOR, "its 16 bits are not used to the end, as by sensors"))
    if _NEARNESS.search(called):
        grounds.insert(0, (-_NAMED, "it is called so"))
    elif _DISTANCE.search(called):
        grounds.insert(0, (_NAMED, "it is called so"))
    total = sum(odds for odds, _ in grounds)
    far, sure = total > 0, 1 / (1 + math.exp(-abs(total)))
    words = " and ".join(words for odds, words in grounds if (odds > 0) == far) or "nothing speaks against it"
    if far:
        return FAR_BRIGHT, sure, words
    return (INVERSE if numbers.full is None and low > 0 else NEAR_BRIGHT), sure, words


def _by_scene(values: FloatArray) -> _Ground:
    """By the bottom edge, which is nearer than the middle in most pictures."""
    rows = _rank_rows(values)
    known = [row for row in rows[1:4] if math.isfinite(row)]
    if not known or not math.isfinite(rows[-1]):
        return 0.0, ""
    apart = sum(known) / len(known) - rows[-1]
    bottom = "smaller" if apart > 0 else "larger"
    return _SCENE * apart, f"its numbers are {bottom} at the bottom edge, which is mostly nearest"


def _rank_rows(values: FloatArray) -> list[float]:
    """The mean rank, 0 to 1, of the numbers in each of `_ROWS` strips from top to bottom; NaN for one without any."""
    small = picked(values, WORKING_SIDE // 4)
    known = np.isfinite(small)
    ordered = np.sort(small[known])
    ranks = np.full(small.shape, np.nan)
    below, upto = (np.searchsorted(ordered, small[known], side) for side in ("left", "right"))
    ranks[known] = (below + upto) / (2 * len(ordered))
    strips = np.array_split(ranks, min(_ROWS, len(ranks)))
    return [float(np.nanmean(strip)) if np.isfinite(strip).any() else math.nan for strip in strips]
