"""Depth and region maps: pixels are measurements or ids, so they are never blended, only picked."""

import io
import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt

from indexer.errors import BadMap, TooManyPixels
from indexer.pictures import WORKING_SIDE, decoding, open_picture
from model.embedder import FloatArray, Regions
from search.settings import Limits

NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_GREY_MODES = frozenset({"L", "I", "I;16", "I;16B", "I;16L"})
_ID_MODES = _GREY_MODES | {"P", "1"}  # in a palette picture the ids are the palette's numbers


def decode_depth(data: bytes, limits: Limits, name: str) -> FloatArray:
    """A grey PNG (0 is not measured) or an NPY array: float32 (H, W), larger is farther, NaN where not measured.

    Maps with a side above `WORKING_SIDE` keep every n-th pixel. Raises `DecodeError`.
    """
    values = _read_npy(data, limits, name) if data.startswith(NPY_MAGIC) else _read_png(data, limits, name, _GREY_MODES)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, thus not measured
        depth = _picked(values).astype(np.float32)
    depth[~np.isfinite(depth) | (depth == 0)] = np.nan
    if np.isnan(depth).all():
        raise BadMap(f"{name} has no measured pixel: all are 0 or not a number")
    return depth


def decode_regions(data: bytes, limits: Limits, name: str, classes: Mapping[int, str]) -> Regions:
    """A PNG of ids: integer (H, W), every n-th pixel of large maps. Raises `DecodeError`."""
    ids = _picked(_read_png(data, limits, name, _ID_MODES)).astype(np.int32)
    return Regions(ids, dict(classes))


def _read_png(data: bytes, limits: Limits, name: str, modes: frozenset[str]) -> npt.NDArray[np.generic]:
    image = open_picture(data, limits, name)
    if image.mode not in modes:
        raise BadMap(f"{name} is a picture of kind {image.mode}; a map has one number a pixel (a grey PNG)")
    with decoding(name):
        image.load()
        return np.asarray(image)


def _read_npy(data: bytes, limits: Limits, name: str) -> npt.NDArray[np.generic]:
    """The array of an NPY file, its header checked before memory is taken; objects (pickles) are refused."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _NPY_HEADERS[version](stream)
    except Exception as error:  # numpy parses the header as Python text, which fails in many ways
        raise BadMap(f"{name} has a damaged NPY header") from error
    if math.prod(shape) > limits.pixels:
        raise TooManyPixels(f"{name} has the shape {shape}; at most {limits.pixels:,} values are allowed")
    if dtype.kind not in "fiu" or len(shape) != 2 or 0 in shape:
        raise BadMap(f"{name} holds {dtype} of shape {shape}; a map is a (height, width) array of real numbers")
    stream.seek(0)
    try:
        return cast(npt.NDArray[np.generic], np.lib.format.read_array(stream, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise BadMap(f"{name} ends before its {shape[0]} x {shape[1]} values do: {error}") from error


def _picked(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Every n-th row and column, so that no side is above `WORKING_SIDE`."""
    step = -(-max(values.shape) // WORKING_SIDE)
    return values[::step, ::step].copy()
