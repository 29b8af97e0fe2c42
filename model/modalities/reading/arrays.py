"""Numbers as PNG and NPY files: regions, and vectors of other networks.

Pixels of maps are measurements or ids, so maps are subsampled, never interpolated. The header of an array is checked
before memory is allocated.
"""

import io
import math
from typing import cast

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.formats.spans import MAX_LENGTH, TextStates
from anyseek.model.modalities.reading.encoded import EncodedFile
from anyseek.model.modalities.reading.errors import BadMap
from anyseek.model.modalities.reading.pictures import load_picture
from anyseek.model.seam import FloatArray, Regions

NumberArray = npt.NDArray[np.generic]

_NPY_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

MAP_AXES = ("height", "width")
_FEATURE_AXES = ("channels", "height", "width")
_VECTOR_AXES = ("dimension",)
_STATE_AXES = ("tokens", "width")

_GREY_MODES = frozenset({"L", "I", "I;16", "I;16B", "I;16L"})
ID_MODES = _GREY_MODES | {"P", "1"}  # in a palette picture the ids are the palette's numbers
_MAX_ID = np.iinfo(np.int32).max


def decode_regions(file: EncodedFile) -> Regions:
    """A PNG or an NPY array of ids: int32 (H, W), every n-th pixel of large maps. Raises `DecodeError`."""
    if is_npy(file):
        values = read_ids(file)
    else:
        image = load_picture(file)
        if image.mode not in ID_MODES:
            raise BadMap(f"{file.name} is a picture of kind {image.mode}; a map has one number per pixel (a grey PNG)")
        values = np.asarray(image)
    return Regions(subsample(values, file.side).astype(np.int32), dict(file.classes))


def decode_features(file: EncodedFile) -> FloatArray:
    """A feature map: float32 (C, h, w), every number finite. Raises `DecodeError`."""
    return _read_finite(file, _FEATURE_AXES)


def decode_vector(file: EncodedFile) -> FloatArray:
    """A vector: float32 (d,), every number finite. Raises `DecodeError`."""
    return _read_finite(file, _VECTOR_AXES)


def decode_text_states(file: EncodedFile) -> TextStates:
    """The states of a text, at most 77. Raises `DecodeError`."""
    vectors = _read_finite(file, _STATE_AXES)
    if len(vectors) > MAX_LENGTH:
        raise BadMap(f"{file.name} has {len(vectors)} text states; at most {MAX_LENGTH} are allowed")
    return TextStates(vectors)


def read_npy(file: EncodedFile, axes: tuple[str, ...] | None = None) -> NumberArray:
    """The real numbers of an NPY file with one dimension for each of `axes`, of any shape without them.

    Objects (pickles) are refused. Raises `BadMap`, `TooManyPixels`, `RequestTooCostly`.
    """
    stream = io.BytesIO(file.data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _HEADERS[version](stream)
        if any(type(length) is not int or length < 0 for length in shape):  # such as True, which numpy lets pass
            raise ValueError(f"the shape {shape} has something that is no length")
    except Exception as error:  # numpy parses the header as Python text, which fails in many ways
        raise BadMap(f"{file.name} has a damaged NPY header") from error
    count = math.prod(shape)
    file.take_pixels(count, f"the shape {shape} and thus {count:,} values")
    if dtype.kind not in "fiu" or 0 in shape or (axes is not None and len(shape) != len(axes)):
        wanted = "" if axes is None else f" ({', '.join(axes)})"
        raise BadMap(f"{file.name} holds {dtype} of shape {shape}; an array{wanted} of real numbers is wanted")
    stream.seek(0)
    try:
        return cast(NumberArray, np.lib.format.read_array(stream, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise BadMap(f"{file.name} ends before its {' x '.join(map(str, shape))} values do: {error}") from error


def is_npy(file: EncodedFile) -> bool:
    """Whether a file is an NPY array."""
    return file.data.startswith(_NPY_MAGIC)


def read_ids(file: EncodedFile) -> NumberArray:
    """The ids (H, W) of an NPY file, whole numbers from 0. Raises `DecodeError`."""
    ids = np.asarray(read_npy(file, MAP_AXES))
    if ids.dtype.kind not in "iu" or int(ids.min()) < 0 or int(ids.max()) > _MAX_ID:
        raise BadMap(f"{file.name} holds {ids.dtype} numbers that are no ids; whole numbers from 0 are wanted")
    return ids


def _read_finite(file: EncodedFile, axes: tuple[str, ...]) -> FloatArray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, thus refused
        values = read_npy(file, axes).astype(np.float32)
    if not np.isfinite(values).all():
        raise BadMap(f"{file.name} holds numbers that are infinite or NaN")
    return values


def subsample(values: NumberArray, side: int | None) -> NumberArray:
    """Every n-th row and column, so that no side is above `side`; all of them if `side` is None."""
    step = 1 if side is None else -(-max(values.shape) // side)
    return values[::step, ::step].copy()
