"""Measures of the colours of a picture: brightness, colourfulness and the shares of basic colours.

All are functions of the pixels alone. The names are the eleven basic colour terms of English (Berlin and Kay 1969,
"Basic Color Terms"). A pixel has the name of the nearest of the samples below in CIE L*a*b*; each name has several,
because light, dark and pale colours have it, too.
"""

import numpy as np
import numpy.typing as npt

from anyseek.model.colours.space import Float64Array, to_lab
from anyseek.model.modalities.drawings import ByteArray

_SAMPLES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((0, 0, 0), (25, 25, 25)),
    "grey": ((75, 75, 75), (128, 128, 128), (185, 185, 185)),
    "white": ((240, 240, 240), (255, 255, 255)),
    "red": ((200, 20, 35), (140, 15, 25), (255, 40, 40)),
    "orange": ((245, 130, 20), (220, 100, 30), (255, 165, 60)),
    "yellow": ((250, 220, 30), (240, 230, 140), (200, 180, 30)),
    "green": ((30, 140, 50), (20, 80, 30), (130, 200, 90), (110, 130, 60)),
    "blue": ((30, 60, 200), (20, 30, 100), (135, 190, 235), (70, 120, 180)),
    "purple": ((120, 40, 140), (170, 110, 200), (75, 30, 90)),
    "pink": ((245, 150, 180), (235, 70, 140), (255, 200, 210)),
    "brown": ((115, 70, 35), (75, 45, 20), (160, 110, 70)),
}
BASIC_COLOURS = tuple(_SAMPLES)

_POINTS = to_lab(np.array([sample for samples in _SAMPLES.values() for sample in samples]))
_NAME_OF_POINT = np.repeat(np.arange(len(_SAMPLES)), [len(samples) for samples in _SAMPLES.values()])
_LEVELS = 32  # of red, green and blue, to which colours are rounded before they are named
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def brightness(picture: ByteArray) -> float:
    """The mean luma (ITU-R BT.601) of uint8 (H, W, 3): 0 black to 1 white."""
    return float(picture.reshape(-1, 3).mean(axis=0) @ _LUMA / 255)


def colourfulness(picture: ByteArray) -> float:
    """The colourfulness of uint8 (H, W, 3): 0 for grey, about 33 moderately, 82 highly, above 109 extremely.

    M of Hasler and Süsstrunk (2003), "Measuring colourfulness in natural images", as it is: with rg = R - G and
    yb = (R + G) / 2 - B, the length of both standard deviations and 0.3 times the length of both means.
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def colour_shares(picture: ByteArray) -> dict[str, float]:
    """The share of the pixels of uint8 (H, W, 3) that each of `BASIC_COLOURS` has; they add up to 1."""
    step = 256 // _LEVELS
    levels, counts = np.unique(picture.reshape(-1, 3) // step, axis=0, return_counts=True)
    names = _NAME_OF_POINT[_nearest(to_lab(levels * step + step // 2))]
    shares = np.bincount(names, weights=counts, minlength=len(BASIC_COLOURS)) / counts.sum()
    return {name: float(share) for name, share in zip(BASIC_COLOURS, shares, strict=True)}


def _nearest(colours: Float64Array) -> npt.NDArray[np.int64]:
    """The place in `_POINTS` of the sample nearest to each of the colours (n, 3)."""
    squared = (colours**2).sum(axis=1)[:, None] + (_POINTS**2).sum(axis=1) - 2 * colours @ _POINTS.T
    nearest: npt.NDArray[np.int64] = squared.argmin(axis=1)
    return nearest
