"""Roughly painted segmentations get round outlines; finely drawn ones stay as they are."""

import numpy as np
import pytest
from PIL import Image

from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.rough_maps import SIDE, painted, rounded
from anyseek.model.seam import Regions


def _of_room() -> Regions:
    (view,) = [view for view in read_views() if view["key"] == "test-00014"]
    about = view["modalities"]["semseg"]
    return Regions(
        np.asarray(Image.open(FOLDER / about["file"])), {int(key): name for key, name in about["classes"].items()}
    )


def _cells(regions: Regions, side: int) -> Regions:
    size = regions.ids.shape[0]
    places = (np.arange(side) + 0.5) * size / side
    return Regions(regions.ids[np.ix_(places.astype(int), places.astype(int))], regions.classes)


def test_a_detailed_map_stays_as_it_is() -> None:
    exact = _of_room()
    assert rounded(exact) is exact


@pytest.mark.parametrize("side", [10, 14])
def test_cells_are_rounded_and_mostly_stay_where_they_are(side: int) -> None:
    cells = _cells(_of_room(), side)
    found = rounded(cells)
    assert found.ids.shape == (SIDE, SIDE)
    assert found.classes == cells.classes
    assert set(np.unique(found.ids)) <= set(np.unique(cells.ids))
    places = np.arange(SIDE) * side // SIDE
    unrounded = cells.ids[np.ix_(places, places)]
    assert 0.005 < np.mean(found.ids != unrounded) < 0.1


def test_a_corner_is_rounded_and_a_straight_edge_is_not() -> None:
    ids = np.full((8, 16), 7)
    ids[:4, :8] = 3
    found = rounded(Regions(ids)).ids
    assert found.shape == (112, 224)
    assert found[55, 111] == 7  # the corner itself
    assert (found[:40, 111], found[:40, 112]) == (pytest.approx(3), pytest.approx(7))


@pytest.mark.parametrize("ids", [np.full((4, 4), 9), np.arange(100).reshape(10, 10), np.array([[1]])])
def test_one_region_or_very_many_stay_as_they_are(ids: np.ndarray) -> None:
    regions = Regions(ids)
    assert rounded(regions) is regions


def test_ids_may_be_any_integers() -> None:
    found = rounded(Regions(np.array([[-5, -5], [70_000, 70_000]]), {-5: "sky"}))
    assert set(np.unique(found.ids)) == {-5, 70_000}


def test_a_painting_has_the_most_frequent_class_of_each_cell() -> None:
    ids = np.array([[1, 1, 2, 2], [1, 3, 2, 2], [4, 4, 5, 6], [4, 4, 6, 6]])
    found = painted(Regions(ids, {1: "sky"}), 2)
    assert found.ids.shape == (112, 112)
    assert found.ids[np.ix_([0, 55, 56, 111], [0, 55, 56])].tolist() == [[1, 1, 2], [1, 1, 2], [4, 4, 6], [4, 4, 6]]
    assert found.classes == {1: "sky"}
