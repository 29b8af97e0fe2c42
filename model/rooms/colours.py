"""Names of colours, and colours for painting."""

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray

# Paints for walls and furniture, before small variations: sRGB 0 to 255.
PAINTS = {
    "red": (190, 30, 35),
    "orange": (235, 125, 30),
    "yellow": (240, 205, 50),
    "green": (60, 140, 65),
    "dark green": (30, 80, 45),
    "turquoise": (55, 165, 160),
    "light blue": (135, 180, 225),
    "blue": (40, 85, 175),
    "navy": (25, 40, 90),
    "purple": (115, 60, 145),
    "pink": (235, 140, 170),
    "brown": (110, 70, 40),
    "beige": (215, 195, 160),
    "white": (240, 240, 238),
    "grey": (135, 135, 138),
    "black": (32, 32, 34),
}
NAMES = (
    "black",
    "white",
    "grey",
    "beige",
    "brown",
    "red",
    "orange",
    "yellow",
    "green",
    "turquoise",
    "blue",
    "purple",
    "pink",
)
_BLACK, _WHITE, _GREY, _BEIGE, _BROWN, _RED, _ORANGE, _YELLOW, _GREEN, _TURQUOISE, _BLUE, _PURPLE, _PINK = range(13)
UNCLEAR = len(NAMES)
# Hues in degrees at which one colour ends and the next begins.
_HUE_ENDS = (14, 42, 68, 162, 195, 258, 295, 345)
_HUES = np.array([_RED, _ORANGE, _YELLOW, _GREEN, _TURQUOISE, _BLUE, _PURPLE, _PINK, _RED])
_CLEAR = 0.6  # share of a surface that a colour needs to name it


def name_colours(colours: FloatArray) -> npt.NDArray[np.int64]:
    """The index in NAMES of each sRGB colour (n, 3) in [0, 1]: (n,); UNCLEAR for what is neither grey nor a colour."""
    value, low = colours.max(axis=1), colours.min(axis=1)
    chroma = value - low
    saturation = chroma / np.maximum(value, 1e-6)
    hue = _hue(colours, value, chroma)
    names = _HUES[np.searchsorted(_HUE_ENDS, hue)]
    warm = (hue >= 6) & (hue < 50)
    names = np.where(warm & (value < 0.7) & (saturation > 0.25), _BROWN, names)
    names = np.where((hue >= 15) & (hue < 60) & (saturation < 0.45) & (value >= 0.7), _BEIGE, names)
    reddish = (hue < 14) | (hue >= 330)
    names = np.where(reddish & (saturation < 0.5) & (value > 0.6), _PINK, names)
    names = np.where((saturation < 0.24) & (names != _BEIGE) & (names != _PINK), UNCLEAR, names)
    grey = np.where(value > 0.8, _WHITE, np.where(value < 0.25, _BLACK, _GREY))
    names = np.where((saturation < 0.14) | (chroma < 0.06), grey, names)
    return np.where(value < 0.16, _BLACK, names)


def clear_name(colours: FloatArray) -> str | None:
    """The colour that most of a surface has, None if no colour has most of it."""
    counts = np.bincount(name_colours(colours), minlength=UNCLEAR + 1)[:UNCLEAR]
    best = int(counts.argmax())
    return NAMES[best] if counts[best] >= _CLEAR * len(colours) else None


def random_paint(random: np.random.Generator, names: tuple[str, ...] = tuple(PAINTS)) -> tuple[float, float, float]:
    """One of the paints, a little lighter or darker and off its hue: sRGB in [0, 1]."""
    base = np.array(PAINTS[names[int(random.integers(len(names)))]]) / 255
    varied = np.clip(base * random.uniform(0.85, 1.1) + random.normal(0, 0.02, 3), 0, 1)
    return float(varied[0]), float(varied[1]), float(varied[2])


def _hue(colours: FloatArray, value: FloatArray, chroma: FloatArray) -> FloatArray:
    """Degrees from 0 to 360."""
    red, green, blue = colours.T
    safe = np.maximum(chroma, 1e-6)
    sector = np.select(
        [value == red, value == green], [(green - blue) / safe % 6, (blue - red) / safe + 2], (red - green) / safe + 4
    )
    return np.asarray(60 * sector)
