"""Colour palettes: 1 to 7 colours as arrays and as text.

A palette is written as `v1=<n>` followed by three `v0=<0..255>` for each colour, red first, as in 4M-21.
"""

from typing import cast

import numpy as np
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.bins import Bin, read_words, write_bin
from anyseek.model.modalities.formats.spans import FormatInvalid

MAX_COLOURS = 7

_BRIGHTEST = 255
_SIDE = 64  # colours are counted on a picture of this size
_BACKGROUND_DISTANCE = 24  # a pixel nearer than this to the border's colour is background
_MIN_FOREGROUND = 0.02


def palette_to_text(palette: ByteArray) -> str:
    """Colours uint8 (n, 3) as text: `v1=<n>` and three `v0=` a colour. Raises `FormatInvalid` unless n is 1 to 7."""
    if palette.ndim != 2 or palette.shape[1] != 3 or not 1 <= len(palette) <= MAX_COLOURS:
        raise FormatInvalid(f"a palette has 1 to {MAX_COLOURS} colours of 3 values, not the shape {palette.shape}")
    return " ".join([write_bin(1, len(palette)), *(write_bin(0, int(value)) for value in palette.reshape(-1))])


def palette_from_text(text: str) -> ByteArray:
    """The colours of a text, at most as many as it announces and at most 7: uint8 (n, 3), n may be 0.

    Three values are not a colour if one of them is above 255.
    """
    words = read_words(text)
    announced = next((word.value for word in words if isinstance(word, Bin) and word.axis == 1), MAX_COLOURS)
    values = [word.value for word in words if isinstance(word, Bin) and word.axis == 0]
    triples = [values[start : start + 3] for start in range(0, len(values) - 2, 3)]
    colours = [triple for triple in triples if max(triple) <= _BRIGHTEST]
    return np.array(colours[: min(announced, MAX_COLOURS)], np.uint8).reshape(-1, 3)


def palette_of(picture: ByteArray, colours: int) -> ByteArray:
    """The `colours` (1 to 7) most telling colours of uint8 (H, W, 3), commonest first: uint8 (n, 3), n <= colours.

    A uniform border counts as background and is left out, unless hardly anything else is there.
    """
    small = np.asarray(Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    pixels = small.reshape(-1, 3)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    distance = np.abs(pixels.astype(np.int64) - np.median(border, axis=0)).max(axis=1)
    foreground = pixels[distance >= _BACKGROUND_DISTANCE]
    chosen = foreground if len(foreground) >= _MIN_FOREGROUND * len(pixels) else pixels
    reduced = Image.fromarray(chosen[None]).quantize(colours, Image.Quantize.MEDIANCUT)
    counts = sorted(reduced.getcolors() or [], reverse=True)
    table = np.asarray(reduced.getpalette(), np.uint8).reshape(-1, 3)
    return np.stack([table[cast(int, index)] for _, index in counts])


def stripes(palette: ByteArray, size: int) -> ByteArray:
    """Colours uint8 (n, 3) as n upright stripes of one width, the first on the left: uint8 (size, size, 3)."""
    columns = np.arange(size) * len(palette) // size
    return np.repeat(palette[columns][None], size, axis=0)
