"""Textures of floors and walls, computed only where they are seen."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from anyseek.model.rooms.camera import DoubleArray
from anyseek.model.rooms.scene import Covering, Texture
from anyseek.model.seam import FloatArray

_JOINT = 0.012  # metres between tiles and bricks


def covering_colours(covering: Covering, across: DoubleArray, up: DoubleArray) -> FloatArray:
    """sRGB colours (n, 3) in [0, 1] of a covering at places of a side, in metres along its two directions."""
    share = _SHARES[covering.texture](across, up, covering.size, covering.seed)
    first, second = np.array(covering.first, np.float32), np.array(covering.second, np.float32)
    return np.asarray(first + (second - first) * share[:, None].astype(np.float32), np.float32)


Share = Callable[[DoubleArray, DoubleArray, float, int], DoubleArray]


def _plain(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return np.zeros(len(across))


def _planks(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    row = np.floor(across / size)
    length = up / (size * 8) + _noise(row, row, seed)
    plank = _noise(row, np.floor(length), seed + 1)
    gap = (across / size % 1 < 0.05) | (length % 1 < 0.006)
    return np.where(gap, 1.6, plank)


def _tiles(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    joint = (across % size < _JOINT) | (up % size < _JOINT)
    return np.where(joint, 1.0, 0.25 * _noise(np.floor(across / size), np.floor(up / size), seed))


def _checks(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return (np.floor(across / size) + np.floor(up / size)) % 2


def _stripes(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return np.floor(across / size) % 2


def _bricks(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    row = np.floor(up / size)
    shifted = across + (row % 2) * size * 1.25
    joint = (up % size < _JOINT) | (shifted % (size * 2.5) < _JOINT)
    return np.where(joint, 1.0, 0.4 * _noise(row, np.floor(shifted / (size * 2.5)), seed))


def _carpet(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return _noise(np.floor(across / 0.02), np.floor(up / 0.02), seed)


def _noise(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], seed: int) -> DoubleArray:
    """A number in [0, 1) for each pair of whole numbers, always the same for the same pair and seed."""
    mixed = first.astype(np.int64) * 374761393 + second.astype(np.int64) * 668265263 + seed
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65536


_SHARES: dict[Texture, Share] = {
    Texture.PLAIN: _plain,
    Texture.PLANKS: _planks,
    Texture.TILES: _tiles,
    Texture.CHECKS: _checks,
    Texture.STRIPES: _stripes,
    Texture.BRICKS: _bricks,
    Texture.CARPET: _carpet,
}
