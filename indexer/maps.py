"""Depth and region maps: pixels are measurements or ids, so they are never blended, only picked."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from indexer.arrays import NPY_MAGIC, read_npy
from indexer.errors import BadMap
from indexer.pictures import WORKING_SIDE, decoding, open_picture
from model.embedder import FloatArray, Regions
from search.settings import Limits

_AXES = ("height", "width")
_GREY_MODES = frozenset({"L", "I", "I;16", "I;16B", "I;16L"})
_ID_MODES = _GREY_MODES | {"P", "1"}  # in a palette picture the ids are the palette's numbers


def decode_depth(data: bytes, limits: Limits, name: str) -> FloatArray:
    """A grey PNG (0 is not measured) or an NPY array: float32 (H, W), larger is farther, NaN where not measured.

    Maps with a side above `WORKING_SIDE` keep every n-th pixel. Raises `DecodeError`.
    """
    is_array = data.startswith(NPY_MAGIC)
    values = read_npy(data, limits, name, _AXES) if is_array else _read_png(data, limits, name, _GREY_MODES)
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


def _picked(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Every n-th row and column, so that no side is above `WORKING_SIDE`."""
    step = -(-max(values.shape) // WORKING_SIDE)
    return values[::step, ::step].copy()
