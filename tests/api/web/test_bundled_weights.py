"""The page with the bundled weights: a painting finds its room, a heart in red the red heart, nonsense nothing."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.galleries.openmoji import Drawings, draw_svg, fetch_wheel, read_concepts
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.home import default_home
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Regions
from anyseek.search.settings import Limits
from tests.api.conftest import serving
from tests.api.web.views import Page, Visiting, keys, settled, stroke
from tests.encoders import link_encoders, pulled_encoders

pytestmark = pytest.mark.slow

ROOM = "test-00014"
CELLS = 12  # a side; the brush is as wide as one
WIDEST = 448  # pixels of the sheet on the screen
FIRST = 6
UNSURE = ("Not sure about any of these.", "Perhaps none of these shows what you asked for.")
KINDS = ("hearts", "affectionate", "fruit", "vegetables", "emotions")


@contextmanager
def _visiting(visiting: Visiting, url: str) -> Iterator[Page]:
    """A page that waits long, since the network takes its time."""
    with visiting(url) as page:
        page.set_default_timeout(120_000)
        page.wait_for_selector(".card")
        page.wait_for_selector("#state.ready")
        yield page


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the bundled weights and 50 of the demo's rooms."""
    home = tmp_path_factory.mktemp("rooms")
    link_encoders(home)
    views = read_views()
    chosen = {view["key"]: view for view in [*views[::6], *(view for view in views if view["key"] == ROOM)]}
    with serving(home, "4m-tiny") as (client, _):
        client.create_collection("rooms")
        for key, view in chosen.items():
            classes = {"classes": view["modalities"]["semseg"]["classes"]}  # which the page offers as brushes
            client.put_item("rooms", key, {"rgb": FOLDER / view["file"]}, attributes=classes)
        yield client.url


def test_a_room_is_found_by_its_painting(visiting: Visiting, rooms: str) -> None:
    with _visiting(visiting, f"{rooms}/#c=rooms") as page:
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
        page.wait_for_selector(".asking .card")
        assert ROOM in keys(page)[:FIRST]


def test_no_hit_is_sure_where_no_room_shows_it_and_some_are_where_many_do(visiting: Visiting, rooms: str) -> None:
    with _visiting(visiting, f"{rooms}/#c=rooms") as page:
        page.fill("#words", "a slice of pizza")
        page.keyboard.press("Enter")
        page.wait_for_selector(".asking .card")
        settled(page)
        assert page.inner_text("#summary") in UNSURE
        page.fill("#words", "a desk")  # on the first page some hits are sure and others are not
        page.keyboard.press("Enter")
        page.wait_for_selector("#results .divider")
        assert page.inner_text("#summary") not in UNSURE


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


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the bundled weights and emoji of some kinds, with every 16th of the others."""
    pulled_encoders()
    try:
        wheel = fetch_wheel(default_home() / "downloads")
    except DownloadFailed as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("hearts")
    link_encoders(home)
    every = [concept for concept in read_concepts() if concept.caption]
    shown = [concept for concept in every if concept.subgroup in KINDS]
    shown += [concept for concept in every if concept.subgroup not in KINDS][::16]
    with serving(home, "4m-tiny") as (client, _), Drawings(wheel) as drawings:
        client.create_collection("emoji")
        for concept in shown:
            file = io.BytesIO()
            Image.fromarray(draw_svg(drawings[concept.hexcode])).save(file, "PNG")
            client.put_item("emoji", concept.caption, {"rgb": file.getvalue()})
        yield client.url


def test_love_a_drawn_heart_and_red_find_the_red_heart_first(visiting: Visiting, emoji: str) -> None:
    with _visiting(visiting, f"{emoji}/#c=emoji") as page:
        page.fill("#words", "love")
        page.keyboard.press("Enter")
        page.wait_for_selector(".asking .card")
        page.click("#open-drawing")
        stroke(page, "#canvas", *heart())
        page.wait_for_selector('.chip[data-kind="canny_edge"] img')
        settled(page)
        assert keys(page)[0] != "red heart", "the colour must decide"
        page.click("#open-palette")
        page.click('[aria-label="Add red"]')
        page.wait_for_selector('.chip[data-kind="color_palette"]')
        settled(page)
        page.wait_for_selector('.asking .card:first-child[data-key="red heart"]', state="attached")


def heart() -> list[tuple[float, float]]:
    """Points around a heart, in shares of the sheet."""
    turn = np.linspace(0, 2 * np.pi, 60)
    across = 0.5 + 0.43 * np.sin(turn) ** 3
    down = 0.47 - 0.027 * (13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    return list(zip(across.tolist(), down.tolist(), strict=True))
