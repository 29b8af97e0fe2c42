"""What the numbers of depth maps and of surface normals mean.

Depth is written as distances, brightness that falls with distance, or inverse distances, and a file rarely says which.
Two things tell: what holds such numbers (16 bits that are not used to the end come from a sensor, in millimetres or
another unit of distance), and the scene. Almost everywhere the bottom edge of a picture is nearer than its middle. The
unit makes no difference to a model, which sees the order of distances and their ratios.

The axes of normals may point either way. A camera sees only what faces it, so the axis towards the viewer has one sign
almost everywhere. At the bottom of a picture are mostly floors, which face up, and the sides of a room face each other.
"""

import io
import math
import re
import zipfile
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.arrays import MAP_AXES, NumberArray, is_npy, read_npy, subsample
from anyseek.model.modalities.reading.encoded import (
    WORKING_SIDE,
    DecodedFile,
    EncodedFile,
    Interpretation,
    requested_form,
)
from anyseek.model.modalities.reading.errors import BadMap, FormatNotInstalled, TooManyBytes
from anyseek.model.modalities.reading.pictures import decode_errors, decode_normal, load_picture
from anyseek.model.seam import FloatArray

_GREY_MODES = frozenset({"L", "I", "I;16", "I;16B", "I;16L", "F"})
_COLOUR_MODES = frozenset({"LA", "RGB", "RGBA", "P"})
_NPZ, _EXR = b"PK\x03\x04", b"\x76\x2f\x31\x01"
_DEPTH_ARRAY = re.compile("depth|distance|range|z|disp|inv")
_EXR_CHANNELS = ("Z", "depth", "Depth", "V", "Y", "R")  # the likeliest first


@dataclass(frozen=True)
class DepthNumbers:
    """The numbers of a map as they are stored: real numbers (H, W).

    `max_level` is the largest that a pixel can hold, None for floats. `label` is the file's name for them.
    """

    values: NumberArray
    max_level: int | None
    label: str


def read_depth_numbers(file: EncodedFile) -> DepthNumbers:
    """Raises `DecodeError`: for colours among others, whose order only their maker knows."""
    if is_npy(file):
        return DepthNumbers(read_npy(file, MAP_AXES), None, file.name)
    if file.data.startswith(_NPZ):
        return _read_npz(file)
    if file.data.startswith(_EXR):
        return _read_exr(file)
    return _read_picture(file)


def _read_picture(file: EncodedFile) -> DepthNumbers:
    image = load_picture(file)
    if image.mode not in _GREY_MODES | _COLOUR_MODES:
        raise BadMap(f"{file.name} is a picture of kind {image.mode}; a map has one number per pixel (a grey PNG)")
    with decode_errors(file.name):
        values = np.asarray(image if image.mode in _GREY_MODES else image.convert("RGB"))
    if values.ndim == 3:  # grey that was stored in colour: JPEG lets channels differ a little
        apart = values.max(axis=2).astype(np.int16) - values.min(axis=2)
        if int(apart.max(initial=0)) > 8:
            raise BadMap(f"{file.name} is a picture in colours; a depth map has one number per pixel: send it in grey")
        values = values[:, :, 1]
    max_level = {"L": 255, "F": None}.get(image.mode, 255 if image.mode in _COLOUR_MODES else 65535)
    return DepthNumbers(values, max_level, file.name)


def _read_npz(file: EncodedFile) -> DepthNumbers:
    """The array of an NPZ archive: its only one, or the one that is called depth, distance, disparity or inverse."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist() if entry.filename.endswith(".npy")}
            named = list(sizes) if len(sizes) == 1 else [name for name in sizes if _DEPTH_ARRAY.search(name.lower())]
            if len(named) != 1:
                names = ", ".join(list(sizes)[:8]) or "nothing"
                raise BadMap(
                    f"{file.name} holds {names}; an NPZ archive with one array, or one called depth, is wanted"
                )
            (name,) = named
            if sizes[name] > file.limits.bytes_per_file:
                raise TooManyBytes(f"{file.name}: {name} has {sizes[name]:,} bytes, which is more than is allowed")
            data = archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise BadMap(f"{file.name} is a damaged NPZ archive: {error}") from error
    inner = replace(file, data=data, name=f"{file.name}: {name.removesuffix('.npy')}")
    return DepthNumbers(read_npy(inner, MAP_AXES), None, inner.name)


def _read_exr(file: EncodedFile) -> DepthNumbers:
    try:
        import OpenEXR
    except ImportError as error:
        raise FormatNotInstalled(f"{file.name} is OpenEXR, which needs pip install 'anyseek[exr]'") from error
    with decode_errors(file.name):
        header = OpenEXR.File(io.BytesIO(file.data), separate_channels=True, header_only=True).header()
        low, high = header["dataWindow"]
        width, height = (int(side) + 1 for side in high - low)
        file.take_pixels(width * height, f"{width} x {height} pixels")
        channels = OpenEXR.File(io.BytesIO(file.data), separate_channels=True).channels()
        ranks = {name: name.rpartition(".")[2] for name in channels}
        known = [name for name, last in ranks.items() if last in _EXR_CHANNELS]
        if not known:
            names = ", ".join(list(channels)[:8])
            raise BadMap(f"{file.name} has the channels {names}; a depth map has Z, V, Y or R")
        name = min(known, key=lambda name: _EXR_CHANNELS.index(ranks[name]))
        return DepthNumbers(np.asarray(channels[name].pixels), None, f"{file.name}: {name}")


FAR_BRIGHT, NEAR_BRIGHT, INVERSE = "far-bright", "near-bright", "inverse"
DEPTH_FORMS = {
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


# Log odds of "larger is farther", and the reason in words.
_Evidence = tuple[float, str]


def decode_depth(file: EncodedFile) -> FloatArray:
    """A depth map in which larger is farther: float32 (H, W), NaN where it is 0 or not finite, thus not measured.

    Large maps keep every n-th pixel. Raises `DecodeError`.
    """
    return _mask_unmeasured(file, read_depth_numbers(file).values)


def interpret_depth(file: EncodedFile) -> DecodedFile:
    """A depth map of any form in DEPTH_FORMS, guessed unless `file.form` names it: float32 (H, W), larger is farther.

    Numbers that mark what was not measured (0, NaN, the format's largest) become NaN. Raises `DecodeError`.
    """
    numbers = read_depth_numbers(file)
    values = _mask_sentinels(numbers, _mask_unmeasured(file, numbers.values))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low == high:
        raise BadMap(f"{file.name} is {low:g} wherever it was measured; a depth map has near and far places")
    requested = requested_form(file, DEPTH_FORMS)
    form, sure, why = (requested, 1.0, "as you said") if requested else _guess_depth(numbers, values, low)
    sentence = f"{file.name} is a depth map in which {DEPTH_FORMS[form]}: {why}"
    if form == NEAR_BRIGHT:
        values = np.asarray(low + high - values, np.float32)
    elif form == INVERSE:
        values = np.asarray(1 / np.maximum(values, 1e-6 * high), np.float32)
    return DecodedFile(values, Interpretation(file.name, form, sure, sentence))


def _mask_unmeasured(file: EncodedFile, values: NumberArray) -> FloatArray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, thus not measured
        depth = subsample(values, file.side).astype(np.float32)
    depth[~np.isfinite(depth) | (depth == 0)] = np.nan
    if np.isnan(depth).all():
        raise BadMap(f"{file.name} has no measured pixel: all are 0 or not a number")
    return depth


def _mask_sentinels(numbers: DepthNumbers, depth: FloatArray) -> FloatArray:
    """Replace sentinels for "not measured" by NaN: a single negative number, or a largest one far above the rest."""
    if np.nanmax(depth) < 0:  # along an axis that points at the viewer
        return -depth
    levels = np.unique(depth[np.isfinite(depth)])
    marks = []
    if len(levels) > 2 and levels[0] < 0 < levels[1]:
        marks.append(levels[0])
    max_level = numbers.max_level is None or levels[-1] == numbers.max_level
    if len(levels) > 2 and max_level and 0 < levels[-2] * _SENTINEL < levels[-1]:
        marks.append(levels[-1])
    return np.where(np.isin(depth, marks), np.float32(np.nan), depth)


def _guess_depth(numbers: DepthNumbers, values: FloatArray, low: float) -> tuple[str, float, str]:
    """The likeliest form, how sure that is, and why."""
    label, largest = numbers.label.lower(), float(np.nanmax(values))
    evidence = [_scene_evidence(values)]
    if numbers.max_level is None and largest > _LONG_DISTANCE:
        evidence.insert(0, (_LONG, "its numbers are as large as distances"))
    elif numbers.max_level is not None and numbers.max_level > 255 and largest < numbers.max_level:
        evidence.insert(0, (_SENSOR, "its 16 bits are not used to the end, as by sensors"))
    if _NEARNESS.search(label):
        evidence.insert(0, (-_NAMED, "it is called so"))
    elif _DISTANCE.search(label):
        evidence.insert(0, (_NAMED, "it is called so"))
    total = sum(odds for odds, _ in evidence)
    far, sure = total > 0, 1 / (1 + math.exp(-abs(total)))
    words = " and ".join(words for odds, words in evidence if (odds > 0) == far) or "nothing speaks against it"
    if far:
        return FAR_BRIGHT, sure, words
    return (INVERSE if numbers.max_level is None and low > 0 else NEAR_BRIGHT), sure, words


def _scene_evidence(values: FloatArray) -> _Evidence:
    """Evidence from the bottom edge, which is nearer than the middle in most pictures."""
    rows = _rank_rows(values)
    known = [row for row in rows[1:4] if math.isfinite(row)]
    if not known or not math.isfinite(rows[-1]):
        return 0.0, ""
    apart = sum(known) / len(known) - rows[-1]
    bottom = "smaller" if apart > 0 else "larger"
    return _SCENE * apart, f"its numbers are {bottom} at the bottom edge, which is mostly nearest"


def _rank_rows(values: FloatArray) -> list[float]:
    """The mean rank, 0 to 1, of the numbers in each of `_ROWS` strips from top to bottom; NaN for one without any."""
    small = subsample(values, WORKING_SIDE // 4)
    known = np.isfinite(small)
    ordered = np.sort(small[known])
    ranks = np.full(small.shape, np.nan)
    below, upto = (np.searchsorted(ordered, small[known], side) for side in ("left", "right"))
    ranks[known] = (below + upto) / (2 * len(ordered))
    strips = np.array_split(ranks, min(_ROWS, len(ranks)))
    return [float(np.nanmean(strip)) if np.isfinite(strip).any() else math.nan for strip in strips]


# Where x, y and z point. The first is what items and predictions have.
_AXES_POINT = (("right", "left"), ("up", "down"), ("viewer", "away"))
NORMAL_FORMS = {"-".join(axes): f"x, y and z point {', '.join(axes)}" for axes in product(*_AXES_POINT)}
_ITEM_FORM = next(iter(NORMAL_FORMS))
_NORMAL_AXES = ("height", "width", "channels")
_MIN_LENGTH, _MAX_LENGTH = 0.5, 1.5  # lengths of vectors that can be normals
_UNIT = 0.8  # so many vectors have such a length, or it is no map of normals


def interpret_normal(file: EncodedFile) -> DecodedFile:
    """Normals of any form in NORMAL_FORMS, as PNG of 8 bits, TIFF or NPY: uint8 (H, W, 3), [0, 255] stands for [-1, 1].

    They come out as right, up and towards the viewer; what has no normal is (128, 128, 128). Raises `DecodeError`.
    """
    requested = requested_form(file, NORMAL_FORMS)
    vectors = _read_normals(file)
    form, sure, why = (requested, 1.0, "as you said") if requested else _guess_normal(vectors)
    signs = [1.0 if axis == first else -1.0 for axis, (first, _) in zip(form.split("-"), _AXES_POINT, strict=True)]
    turned = vectors * np.array(signs, np.float32)
    sentence = f"{file.name} has normals whose {NORMAL_FORMS[form]}: {why}"
    value: ByteArray = np.rint((turned + 1) * 127.5).clip(0, 255).astype(np.uint8)
    if form == _ITEM_FORM and not is_npy(file):  # as it is, like items, whose vectors depend on every level
        value = decode_normal(file.without_budget())
    return DecodedFile(value, Interpretation(file.name, form, sure, sentence))


def _read_normals(file: EncodedFile) -> FloatArray:
    """Float32 (H, W, 3) of length 1, or 0 where there is no normal. Raises `BadMap` for what holds no normals."""
    if is_npy(file):
        stored = read_npy(file, _NORMAL_AXES)
    else:
        image = load_picture(file)
        if image.mode not in ("RGB", "RGBA", "P"):
            raise BadMap(f"{file.name} is a picture of kind {image.mode}; normals have three numbers a pixel (RGB)")
        stored = np.asarray(image.convert("RGB"))
    if stored.shape[0] == 3 and stored.shape[2] != 3:  # channels first, as PyTorch has them
        stored = np.moveaxis(stored, 0, 2)
    if stored.shape[2] != 3:
        raise BadMap(f"{file.name} has {stored.shape[2]} numbers a pixel; a normal has three")
    with np.errstate(over="ignore", invalid="ignore"):
        values = subsample(stored, file.side).astype(np.float32)
    known = np.isfinite(values).all(axis=2) & (values != 0).any(axis=2)
    values = np.where(known[..., None], values, np.float32(0))
    vectors = np.where(known[..., None], _to_signed_unit(stored.dtype, values), np.float32(0))
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    fits = (lengths > _MIN_LENGTH) & (lengths < _MAX_LENGTH)
    if fits.sum() < _UNIT * max(int(known.sum()), 1):
        raise BadMap(f"{file.name} holds no normals: most of its pixels are no vectors of length 1")
    return np.where(fits, vectors / np.where(fits, lengths, 1), 0).astype(np.float32)


def _to_signed_unit(dtype: np.dtype[np.generic], values: FloatArray) -> FloatArray:
    """The numbers in [-1, 1]: whole ones fill 8 or 16 bits, others are as they are or fill [0, 1]."""
    if dtype.kind in "iu":
        max_level = 255 if values.max() <= 255 else 65535
        return values * np.float32(2 / max_level) - np.float32(1)
    return values if values.min() < 0 else values * 2 - 1


def _guess_normal(vectors: FloatArray) -> tuple[str, float, str]:
    rows, columns = len(vectors) // 3 or 1, vectors.shape[1] // 3 or 1
    bottom, left, right = vectors[-rows:, :, 1], vectors[:, :columns, 0], vectors[:, -columns:, 0]
    # Evidence for the first direction of each axis, and its accuracy.
    evidence = float(left.mean() - right.mean()), float(bottom.mean()), float(vectors[:, :, 2].mean())
    sure = 0.95 * 0.95 * 0.99
    form = "-".join(pair[value < 0] for pair, value in zip(_AXES_POINT, evidence, strict=True))
    return form, sure, "what a camera sees faces it, floors face up, and the sides of a picture face each other"
