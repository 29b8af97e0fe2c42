"""A part of a picture is looked for: of an open item, and of a picture that was dropped."""

from collections.abc import Iterator
from typing import Any

import pytest

from anyseek import Client
from tests.api.conftest import picture, two_pictures
from tests.api.web.views import Page, Visiting, asked, give, keys, settled, stroke, until


@pytest.fixture
def pairs(visiting: Visiting, site: str) -> Iterator[Page]:
    """A page with a collection in which one picture shows what two others show alone."""
    with Client(site) as client:
        client.create_collection("pairs")
        client.put_item("pairs", "both", {"rgb": two_pictures()})
        for name in ("red disc", "blue bar"):
            client.put_item("pairs", name, {"rgb": picture(*name.split())})
        client.put_item("pairs", "words", caption="no picture at all")
    with visiting(f"{site}/#c=pairs") as page:
        page.wait_for_selector(".card")
        page.wait_for_selector("#state.ready")
        yield page
    with Client(site) as client:
        client.delete_collection("pairs")


def _open(page: Page, key: str) -> None:
    page.click(f'.card[data-key="{key}"] .picture')
    page.wait_for_selector("#details[open] .stage-picture")


def test_a_part_of_an_open_item_is_looked_for_and_stands_in_the_address(pairs: Page, visiting: Visiting) -> None:
    _open(pairs, "both")
    pairs.click("#choose-part")
    stroke(pairs, "#details .region-sheet", (0.52, 0.02), (0.98, 0.98))
    (part,) = asked(pairs, lambda: pairs.click("text=Search this region"))
    assert part["item"] == "both"
    assert part["box"] == pytest.approx([0.52, 0.02, 0.98, 0.98], abs=0.02)
    pairs.wait_for_selector(".asking .card")
    settled(pairs)
    assert keys(pairs)[0] == "blue bar"
    pairs.wait_for_selector(".chip .understood >> text=/only the box .* of the picture of 'both' is used/")
    assert pairs.inner_text(".chip .what small") == "part of"
    with visiting(pairs.url) as other:
        (again,) = asked(other, other.reload)
        assert again == part


def test_a_part_is_chosen_once_the_picture_is_there_however_often_it_is_clicked(pairs: Page) -> None:
    held: list[Any] = []
    pairs.route("**/assets/rgb/both*", lambda route: held.append(route))
    pairs.click('.card[data-key="both"] .picture')
    for _ in range(3):
        pairs.click("#choose-part")
    pairs.wait_for_selector("#details .region-sheet", state="attached")
    assert not pairs.is_visible("#details .region-sheet")
    assert pairs.inner_text("#choose-part") == "Search a part"
    for route in held:
        route.continue_()
    stroke(pairs, "#details .region-sheet", (0.52, 0.02), (0.98, 0.98))
    assert pairs.locator("#details .region-sheet").count() == 1
    (part,) = asked(pairs, lambda: pairs.click("text=Search this region"))
    assert part["box"] == pytest.approx([0.52, 0.02, 0.98, 0.98], abs=0.02)


def test_a_box_is_moved_and_sized_by_the_keyboard_alone(pairs: Page) -> None:
    _open(pairs, "both")
    pairs.focus("#choose-part")
    pairs.keyboard.press("Enter")
    pairs.wait_for_selector("#details .region:focus")
    for _ in range(20):  # to the edge, and no further
        pairs.keyboard.press("ArrowLeft")
    pairs.keyboard.press("Shift+ArrowDown")
    assert pairs.inner_text("#lightbox-title") == "both"  # the arrows went to no other item
    pairs.focus("#choose-part")
    (part,) = asked(pairs, lambda: pairs.keyboard.press("Enter"))
    assert part["box"] == [0, 0.25, 0.5, 0.77]
    pairs.wait_for_selector(".asking .card")


# The sheet is twice as wide as high, as the picture is, and lies in its middle.
_FITS = """(() => {
  const [sheet, stage] = [".region-sheet", ".stage-picture img"]
    .map((name) => document.querySelector(`#details ${name}`).getBoundingClientRect());
  return Math.abs(sheet.width / sheet.height - 2) < 0.04
    && Math.abs(sheet.x + sheet.width / 2 - stage.x - stage.width / 2) < 2
    && Math.abs(sheet.y + sheet.height / 2 - stage.y - stage.height / 2) < 2;
})()"""


def test_a_box_fits_the_picture_after_the_window_has_changed(pairs: Page) -> None:
    _open(pairs, "both")
    pairs.click("#choose-part")
    pairs.wait_for_selector("#details .region:focus")
    for width in (1200, 700):
        pairs.set_viewport_size({"width": width, "height": 900})
        until(pairs, _FITS)


def test_other_views_and_items_without_a_picture_have_no_parts(pairs: Page) -> None:
    _open(pairs, "words")
    assert not pairs.is_visible("#choose-part")


def test_a_part_of_a_dropped_picture_is_looked_for_and_then_all_of_it(pairs: Page) -> None:
    give(pairs, "drop", "photo.png", two_pictures())
    pairs.wait_for_selector(".asking .card")
    pairs.select_option(".chip .what select", "rgb")
    settled(pairs)
    pairs.click(".chip .look")
    pairs.click("#looking >> text=Search a part")
    stroke(pairs, "#looking .region-sheet", (0.02, 0.02), (0.48, 0.98))
    (part,) = asked(pairs, lambda: pairs.click("#looking >> text=Search this region"))
    assert part["box"] == pytest.approx([0.02, 0.02, 0.48, 0.98], abs=0.02)
    pairs.wait_for_selector(".chip .understood >> text=/only the box .* of photo.png is used/")
    settled(pairs)
    assert keys(pairs)[0] == "red disc"
    pairs.click(".chip .look")
    (whole,) = asked(pairs, lambda: pairs.click("#looking >> text=Search all of it"))
    assert "box" not in whole
    pairs.wait_for_selector(".understood", state="detached")
