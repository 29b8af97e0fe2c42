"""CIE L*a*b*, in which equal distances look about equally different."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

# CIE 1931 XYZ of linear sRGB, and the white point D65 (IEC 61966-2-1)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def to_lab(colours: npt.NDArray[Any]) -> Numbers:
    """Convert sRGB uint8 (n, 3) to CIE L*a*b* under D65 (n, 3)."""
    share = colours.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(light > (6 / 29) ** 3, np.cbrt(light), light * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = bent.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
