"""Rooms on the page, with the bundled weights: a rough painting finds its room, and what is not there is not found."""

from collections.abc import Iterator

import numpy as np
import pytest

from anyseek import Client
from anyseek.api.service import Service, ServiceSettings
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Regions
from anyseek.search.settings import Limits, Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import listening
from tests.api.web.views import Visiting, keys, settled, stroke
from tests.encoders import link_encoders

pytestmark = pytest.mark.slow

ROOM = "test-00014"
CELLS = 12  # a side; the brush is as wide as one
WIDEST = 448  # pixels of the sheet on the screen
FIRST = 6


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the bundled weights and 50 of the demo's rooms."""
    home = tmp_path_factory.mktemp("rooms")
    link_encoders(home)
    views = read_views()
    chosen = {view["key"]: view for view in [*views[::6], *(view for view in views if view["key"] == ROOM)]}
    with Runtime.open(Settings(home), "4m-tiny") as runtime, listening(Service(runtime, ServiceSettings())) as url:
        with Client(url, patience=300) as client:
            client.create_collection("rooms")
            for key, view in chosen.items():
                classes = {"classes": view["modalities"]["semseg"]["classes"]}  # which the page offers as brushes
                client.put_item("rooms", key, {"rgb": FOLDER / view["file"]}, attributes=classes)
        yield url


def test_a_room_is_found_by_its_painting(visiting: Visiting, url: str) -> None:
    with visiting(f"{url}/#c=rooms") as page:
        page.set_default_timeout(120_000)
        page.wait_for_selector(".card")
        page.wait_for_selector("#state.ready")
        page.click("#open-painting")
        page.wait_for_selector(".brush")
        page.select_option("#rest", "wall")
        page.fill("#brush-width", str(WIDEST // CELLS + 2))
        for name, runs in _runs(_painting()).items():
            if name != "wall":
                page.fill("#other-brush input", name)
                page.keyboard.press("Enter")
                for points in runs:
                    stroke(page, "#map", *points)
        settled(page)
        page.wait_for_selector(".card .score")
        assert ROOM in keys(page)[:FIRST]


def test_a_query_that_nothing_answers_says_so(visiting: Visiting, url: str) -> None:
    with visiting(f"{url}/#c=rooms") as page:
        page.set_default_timeout(120_000)
        page.wait_for_selector("#state.ready")
        page.fill("#words", "a slice of pizza")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Nothing good was found")
        page.fill("#words", "a bedroom with a bed")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Nothing good was found", state="detached")
        settled(page)
        page.wait_for_selector(".card .score")


def _painting() -> Regions:
    """The most frequent class of each of the room's cells: (cells, cells)."""
    (view,) = [view for view in read_views() if view["key"] == ROOM]
    about = view["modalities"]["semseg"]
    names = {int(number): name for number, name in about["classes"].items()}
    regions = decode_file("semseg", FOLDER / about["file"], Limits(), names)
    assert isinstance(regions, Regions)
    rows = [np.array_split(row, CELLS, axis=1) for row in np.array_split(regions.ids, CELLS)]
    return Regions(np.array([[np.bincount(cell.ravel()).argmax() for cell in row] for row in rows]), names)


def _runs(cells: Regions) -> dict[str, list[list[tuple[float, float]]]]:
    """Level strokes by class, from end to end of a run of equal cells, in shares of the sheet."""
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for row, numbers in enumerate(cells.ids.tolist()):
        ends = [place for place in range(CELLS) if place == CELLS - 1 or numbers[place] != numbers[place + 1]]
        for first, last in zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True):
            level = (row + 0.5) / CELLS
            points = [((first + 0.5) / CELLS, level), ((last + 0.5) / CELLS + 0.001, level)]
            found.setdefault(cells.classes[numbers[first]], []).append(points)
    return found
