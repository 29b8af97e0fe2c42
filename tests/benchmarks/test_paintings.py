"""The benchmark of paintings counts what it should."""

import pytest

from anyseek.model.galleries.demo import read_views
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from benchmarks.paintings import measure
from tests.encoders import pulled_encoders


@pytest.mark.slow
def test_each_way_is_asked_for_each_room() -> None:
    pulled_encoders()
    report = measure(load_embedder("4m-tiny", default_home()), read_views()[:16], 4, [12])
    assert (report["rooms"], report["asked"], report["space"]) == (16, 4, "photo_global")
    ways = {"whole, as it is", "whole, rounded", "12 cells, as it is", "12 cells, rounded"}
    assert ways <= report.keys()
    assert report["whole, as it is"]["others"]["median rank"] == 1
