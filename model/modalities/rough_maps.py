"""Round the outlines of a segmentation that was painted roughly, as a query is.

To an image encoder the steps of coarse cells and the dents of dabs are texture, and texture is what it sees first.
Rounded, far more paintings find their rooms (`benchmarks/paintings.py`). A map with details, as models and people with
patience make it, stays as it is.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from anyseek.model.seam import Regions

SIDE = 224  # pixels of the longer side, on which the sizes below are
_FINE, _ROUND = 3.0, 7.0  # radius in pixels: of a detail, and of what is rounded
_ROUGH = 0.0075  # a map is rough if at most this share of its pixels belongs to details
SHEET = 112  # pixels of the page's sheet for painting, each way
_MOST_REGIONS = 64  # more are never painted by hand

Ids = npt.NDArray[np.integer]


def rounded(regions: Regions) -> Regions:
    """Return a roughly painted map with round outlines, at most 224 pixels a side; any other map as it is.

    Every pixel gets the region that is most frequent around it; no region is new, and small ones may vanish.
    """
    numbers = np.unique(regions.ids)
    if not 2 <= len(numbers) <= _MOST_REGIONS:
        return regions
    places = _scaled(np.searchsorted(numbers, regions.ids).astype(np.uint8))
    if np.mean(_most_frequent(places, len(numbers), _FINE) != places) > _ROUGH:
        return regions
    return Regions(numbers[_most_frequent(places, len(numbers), _ROUND)], regions.classes)


def _scaled(places: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = places.shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(places).resize(size, Image.Resampling.NEAREST))


def _most_frequent(places: npt.NDArray[np.uint8], count: int, radius: float) -> npt.NDArray[np.uint8]:
    """The number with the largest share around each pixel, by a Gaussian of that radius; of equal ones the smallest."""
    best, most = np.zeros_like(places), np.zeros_like(places)
    for number in range(count):
        mask = Image.fromarray((places == number).astype(np.uint8) * 255)
        share = np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)))
        larger = share > most
        best[larger], most[larger] = number, share[larger]
    return best


def painted(regions: Regions, side: int) -> Regions:
    """The most frequent id of each of `side` x `side` cells, on a sheet as the page sends it: (112, 112)."""
    rows = np.array_split(regions.ids, side)
    cells = [[_most_frequent_id(cell) for cell in np.array_split(row, side, axis=1)] for row in rows]
    place = np.arange(SHEET) * side // SHEET
    return Regions(np.array(cells)[np.ix_(place, place)], regions.classes)


def _most_frequent_id(cell: Ids) -> int:
    numbers, counts = np.unique(cell, return_counts=True)
    return int(numbers[counts.argmax()])
