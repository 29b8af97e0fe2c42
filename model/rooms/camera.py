"""The camera of a picture, and the rays of its pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera of square pictures.

    `position` in metres; angles in radians: `yaw` turns from -z to the right, `pitch` up, `roll` clockwise around the
    axis; `fov` is the whole angle of view, across as well as down.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    fov: float

    @property
    def axes(self) -> DoubleArray:
        """Unit vectors in the world, one a row: right, up, and back (towards the viewer)."""
        forward = np.array(
            [np.sin(self.yaw) * np.cos(self.pitch), np.sin(self.pitch), -np.cos(self.yaw) * np.cos(self.pitch)]
        )
        level_right = np.array([np.cos(self.yaw), 0.0, np.sin(self.yaw)])
        level_up = np.cross(level_right, forward)
        right = np.cos(self.roll) * level_right - np.sin(self.roll) * level_up
        return np.array([right, np.cross(right, forward), -forward])

    def rays(self, columns: npt.ArrayLike, rows: npt.ArrayLike, size: int) -> DoubleArray:
        """Directions through places of a picture of `size` pixels: (n, 3), of length 1 along the axis.

        Columns and rows are in pixels from the upper left corner; the middle of the first pixel is (0.5, 0.5). As the
        length along the axis is 1, a distance in such directions is the depth along the axis.
        """
        half = np.tan(self.fov / 2)
        across = (2 * np.asarray(columns, np.float64) / size - 1) * half
        down = (2 * np.asarray(rows, np.float64) / size - 1) * half
        right, up, back = self.axes
        return np.asarray(across[:, None] * right - down[:, None] * up - back)

    def pixel_rays(self, size: int) -> DoubleArray:
        """Directions through the middles of all pixels, row by row: (size * size, 3)."""
        rows, columns = np.divmod(np.arange(size * size), size)
        return self.rays(columns + 0.5, rows + 0.5, size)

    def project(self, points: DoubleArray) -> DoubleArray:
        """Where points (n, 3) are seen: columns and rows in [0, 1] of the picture and depths, (n, 3).

        Only meaningful where the depth is positive.
        """
        across, up, back = ((points - np.array(self.position)) @ self.axes.T).T
        scale = -2 * back * np.tan(self.fov / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([0.5 + across / scale, 0.5 - up / scale, -back], axis=1)
