"""Every view is free of findings of axe-core, light and dark, on desktop and phone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anyseek.api.service import ServiceSettings
from anyseek.model.galleries.photos import read_views
from tests.api.conftest import picture, serving
from tests.api.web.test_rooms import ROOM, put_room
from tests.api.web.views import Page, Visiting, settled, stroke

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

pytestmark = pytest.mark.slow

SCREENS = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def rooms_site(tmp_path_factory: pytest.TempPathFactory, random_models: Path) -> Iterator[str]:
    """A service whose model, of random weights, takes every modality: two rooms, a lamp in a folder, and an empty
    collection.
    """
    home = tmp_path_factory.mktemp("access")
    (home / "models").symlink_to(random_models / "models")
    with serving(home, "4M-21_B:token_budget=16", ServiceSettings(roots=(home,))) as (client, _):
        client.create_collection("empty")
        client.create_collection("rooms")
        for view in read_views():
            if view["key"] in (ROOM, "test-00270"):
                put_room(client, view)
        client.put_item("rooms", "cellar/lamp", {"rgb": picture("red", "disc")}, "a lamp")
        yield client.url


def _grid(page: Page) -> None:
    page.wait_for_selector(".card img")


def _answer(page: Page) -> None:
    page.fill("#words", "a desk")
    page.keyboard.press("Enter")
    page.wait_for_selector(".asking .card")
    page.click("#open-palette")
    page.click('[aria-label="Add red"]')
    page.wait_for_selector(".chip >> nth=1")


def _filters(page: Page) -> None:
    page.click("#open-filters")
    page.click(".value >> nth=0")
    page.wait_for_selector(".filter")


def _months(page: Page) -> None:
    page.select_option("#sort", "newest")
    page.wait_for_selector(".month")


def _folders(page: Page) -> None:
    page.click("#open-folders")
    page.wait_for_selector(".folder-tile img")


def _drawing(page: Page) -> None:
    page.click("#open-drawing")
    stroke(page, "#canvas", (0.2, 0.2), (0.8, 0.8))
    page.wait_for_selector(".asking .card")


def _painting(page: Page) -> None:
    page.click("#open-painting")
    page.wait_for_selector(".brush")


def _item(page: Page) -> None:
    page.click(f'.card[data-key="{ROOM}"] .picture')
    page.wait_for_selector('.view[data-view="bounding_boxes"] img')


def _adding(page: Page) -> None:
    page.click("#add-pictures")
    page.click(".folder")
    page.wait_for_selector("#index-folder")


def _empty(page: Page) -> None:
    page.evaluate("location.hash = '#c=empty'")
    page.wait_for_selector("#empty:not([hidden])")


def _unknown(page: Page) -> None:
    page.evaluate("location.hash = '#c=nowhere'")
    page.wait_for_selector("#empty :text('no collection called')")


VIEWS = [_grid, _answer, _filters, _months, _folders, _drawing, _painting, _item, _adding, _empty, _unknown]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__[1:])
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    visiting: Visiting, rooms_site: str, scheme: str, screen: str, view: Callable[[Page], None]
) -> None:
    context = {"viewport": SCREENS[screen], "color_scheme": scheme, "reduced_motion": "reduce"}
    with visiting(f"{rooms_site}/#c=rooms", **context) as page:
        page.wait_for_selector(".card img")
        view(page)
        settled(page)
        found = axe_playwright.Axe().run(page)
        told = [
            (rule["id"], node["target"], node["failureSummary"])
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]
        assert told == []
