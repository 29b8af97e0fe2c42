"""Paintings are made of cells, and the benchmark counts what it should."""

import numpy as np
import pytest

from benchmarks.paintings import SHEET, measure, painted
from model.galleries.demo import read_views
from model.home import default_home
from model.loading import load_embedder
from model.seam import Regions
from tests.encoders import pulled_encoders


def test_a_painting_has_the_most_frequent_class_of_each_cell() -> None:
    ids = np.array([[1, 1, 2, 2], [1, 3, 2, 2], [4, 4, 5, 6], [4, 4, 6, 6]])
    found = painted(Regions(ids, {1: "sky"}), 2)
    assert found.ids.shape == (SHEET, SHEET)
    assert found.ids[np.ix_([0, 55, 56, 111], [0, 55, 56])].tolist() == [[1, 1, 2], [1, 1, 2], [4, 4, 6], [4, 4, 6]]
    assert found.classes == {1: "sky"}


@pytest.mark.slow
def test_each_way_is_asked_for_each_room() -> None:
    pulled_encoders()
    report = measure(load_embedder("4m-tiny", default_home()), read_views()[:16], 4, [12])
    assert (report["rooms"], report["asked"], report["space"]) == (16, 4, "photo_global")
    ways = {"whole, as it is", "whole, rounded", "12 cells, as it is", "12 cells, rounded"}
    assert ways <= report.keys()
    assert report["whole, as it is"]["others"]["median rank"] == 1
