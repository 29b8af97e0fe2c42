"""The `hashing` embedder: pictures, drawings, palettes and words to unit vectors without any weights.

Pictures are described by colours, edge directions and where the ink lies; words by hashed character n-grams. Drawings
share two of the picture's three descriptors and palettes the third, so they find pictures; words find items that
have a caption. It needs no download and no torch, gives the same vectors on every machine, and is what everything
else is tested with.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray, ink, ink_to_picture, square
from anyseek.model.seam import FloatArray, Sample, Value
from anyseek.model.single_space import SingleSpaceEmbedder

SPACE = "hashing"
_VERSION = "1"  # part of the fingerprint: raise it whenever a vector changes

_COLOUR_LEVELS = 4  # a histogram of 4 x 4 x 4 colours
_CELLS, _DIRECTIONS = 4, 8  # edge directions, counted in 4 x 4 cells
_INK_GRID = 8
_SIDE = 64  # pictures are described at 64 x 64

_COLOURS = slice(0, _COLOUR_LEVELS**3)
_EDGES = slice(_COLOURS.stop, _COLOURS.stop + _CELLS * _CELLS * _DIRECTIONS)
_INK = slice(_EDGES.stop, _EDGES.stop + _INK_GRID**2)
_WORDS = slice(_INK.stop, 512)
DIMENSION = _WORDS.stop


class HashingEmbedder(SingleSpaceEmbedder):
    """Hand-made descriptors in one 512-dimensional space."""

    name = "hashing"
    modalities = frozenset({"rgb", "caption", "canny_edge", "color_palette"})

    def __init__(self) -> None:
        fingerprint = hashlib.sha256(f"hashing {_VERSION}".encode()).hexdigest()
        super().__init__(self.name, fingerprint, SPACE, np.zeros(DIMENSION, np.float32))

    def vectors(self, samples: Sequence[Sample]) -> FloatArray:
        """Of a sample with several modalities the normalised sum of their descriptors."""
        return np.stack([self._describe(sample) for sample in samples])

    def _describe(self, sample: Sample) -> FloatArray:
        total = np.zeros(DIMENSION, np.float32)
        for modality, value in sorted(sample.values.items()):
            total += _unit(_DESCRIBERS[modality](value))
        return _unit(total)


def _unit(vector: FloatArray) -> FloatArray:
    """`vector` at length 1; the first axis for a vector of zeros (a blank sheet, an empty text)."""
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        first: FloatArray = np.eye(1, DIMENSION, dtype=np.float32)[0]
        return first
    scaled: FloatArray = (vector / np.float32(length)).astype(np.float32)
    return scaled


def _describe_picture(picture: Value) -> FloatArray:
    """Colours, edge directions and ink of uint8 (H, W, 3)."""
    assert isinstance(picture, np.ndarray)
    small = square(picture.astype(np.uint8), _SIDE, 255)
    grey = np.asarray(Image.fromarray(small).convert("L"))
    vector = _describe_shape(ink(grey))
    vector[_COLOURS] = _colour_histogram(small.reshape(-1, 3))
    return vector


def _describe_drawing(drawing: Value) -> FloatArray:
    """Edge directions and ink of uint8 (H, W), any polarity."""
    assert isinstance(drawing, np.ndarray)
    small = square(ink_to_picture(ink(drawing.astype(np.uint8))), _SIDE, 255)
    return _describe_shape(255 - small[:, :, 0])


def _describe_palette(palette: Value) -> FloatArray:
    """The colour histogram of uint8 (n, 3)."""
    assert isinstance(palette, np.ndarray)
    vector = np.zeros(DIMENSION, np.float32)
    vector[_COLOURS] = _colour_histogram(palette.astype(np.uint8))
    return vector


def _describe_text(text: Value) -> FloatArray:
    """Words and character trigrams, each added with a sign at an axis that its hash chooses."""
    assert isinstance(text, str)
    vector = np.zeros(DIMENSION, np.float32)
    plain = unicodedata.normalize("NFKD", text).casefold()
    for word in re.findall(r"\w+", plain):
        padded = f"<{word}>"
        for gram in (padded, *(padded[i : i + 3] for i in range(len(padded) - 2))):
            code = int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big")
            axis = _WORDS.start + (code >> 1) % (_WORDS.stop - _WORDS.start)
            vector[axis] += 1.0 if code & 1 else -1.0
    return vector


def _describe_shape(strength: np.ndarray) -> FloatArray:
    """Edge directions per cell and ink per cell of uint8 (64, 64) ink; each part at length 1 or zero."""
    values = strength.astype(np.float32) / 255.0
    across, down = np.gradient(values, axis=1), np.gradient(values, axis=0)
    direction = np.floor(np.mod(np.arctan2(down, across), np.pi) / np.pi * _DIRECTIONS).astype(np.int64)
    rows, columns = np.indices(values.shape) * _CELLS // _SIDE
    bins = (rows * _CELLS + columns) * _DIRECTIONS + np.minimum(direction, _DIRECTIONS - 1)
    edges = np.bincount(bins.ravel(), weights=np.hypot(across, down).ravel(), minlength=_CELLS**2 * _DIRECTIONS)
    block = _SIDE // _INK_GRID
    where = values.reshape(_INK_GRID, block, _INK_GRID, block).mean(axis=(1, 3)).ravel()
    vector = np.zeros(DIMENSION, np.float32)
    vector[_EDGES] = np.sqrt(edges / max(float(edges.sum()), 1e-9))
    vector[_INK] = 0.5 * where / max(float(np.linalg.norm(where)), 1e-9)
    return vector


def _colour_histogram(colours: ByteArray) -> FloatArray:
    """Square roots of the shares of 4 x 4 x 4 colours, a colour spread over its eight nearest bins: (n, 3) -> (64,)."""
    position = colours.astype(np.float64) / 255.0 * (_COLOUR_LEVELS - 1)
    low = np.minimum(np.floor(position).astype(np.int64), _COLOUR_LEVELS - 2)
    near = position - low
    shares = np.zeros(_COLOUR_LEVELS**3)
    for corner in np.ndindex(2, 2, 2):
        offset = np.asarray(corner)
        weight = np.prod(np.where(offset == 1, near, 1.0 - near), axis=1)
        bins = (low + offset) @ np.array([_COLOUR_LEVELS**2, _COLOUR_LEVELS, 1])
        shares += np.bincount(bins, weights=weight, minlength=shares.size)
    return np.sqrt(shares / len(colours)).astype(np.float32)


_DESCRIBERS: dict[str, Callable[[Value], FloatArray]] = {
    "rgb": _describe_picture,
    "caption": _describe_text,
    "canny_edge": _describe_drawing,
    "color_palette": _describe_palette,
}
