"""NPY files: maps and vectors of other networks. Their header is checked before memory is taken."""

import io
import math
from typing import cast

import numpy as np
import numpy.typing as npt

from indexer.errors import BadMap, TooManyPixels
from model.embedder import FloatArray
from model.formats.text_states import LONGEST, TextStates
from search.settings import Limits

NPY_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

FEATURE_AXES = ("channels", "height", "width")
VECTOR_AXES = ("dimension",)
STATE_AXES = ("tokens", "width")


def read_npy(data: bytes, limits: Limits, name: str, axes: tuple[str, ...]) -> npt.NDArray[np.generic]:
    """The real numbers of an NPY file with one dimension for each of `axes`; objects (pickles) are refused.

    Raises `BadMap`, `TooManyPixels`.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _HEADERS[version](stream)
    except Exception as error:  # numpy parses the header as Python text, which fails in many ways
        raise BadMap(f"{name} has a damaged NPY header") from error
    if math.prod(shape) > limits.pixels:
        raise TooManyPixels(f"{name} has the shape {shape}; at most {limits.pixels:,} values are allowed")
    if dtype.kind not in "fiu" or len(shape) != len(axes) or 0 in shape:
        wanted = ", ".join(axes)
        raise BadMap(f"{name} holds {dtype} of shape {shape}; an array ({wanted}) of real numbers is wanted")
    stream.seek(0)
    try:
        return cast(npt.NDArray[np.generic], np.lib.format.read_array(stream, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise BadMap(f"{name} ends before its {' x '.join(map(str, shape))} values do: {error}") from error


def decode_array(data: bytes, limits: Limits, name: str, axes: tuple[str, ...]) -> FloatArray:
    """A feature map or a vector: float32, every number finite. Raises `DecodeError`."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, thus refused
        values = read_npy(data, limits, name, axes).astype(np.float32)
    if not np.isfinite(values).all():
        raise BadMap(f"{name} holds numbers that are infinite or none at all")
    return values


def decode_text_states(data: bytes, limits: Limits, name: str) -> TextStates:
    """The states of a text, at most 77. Raises `DecodeError`."""
    vectors = decode_array(data, limits, name, STATE_AXES)
    if len(vectors) > LONGEST:
        raise BadMap(f"{name} has {len(vectors)} text states; at most {LONGEST} are allowed")
    return TextStates(vectors)
