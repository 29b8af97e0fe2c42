"""Browsing a collection: the grid, endless scroll, dates, filters, and an item in full."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyseek.api.service import Service
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.items import change_attributes
from tests.api.conftest import serving
from tests.api.web.views import Page, Visiting, keys, settled, until

COUNT = 150
SHAPES = [(90, 60), (60, 90), (80, 80), (200, 50)]
PLACES = [{"city": "Rome", "country": "Italy"}, {"city": "Ghent", "country": "Belgium"}]


def _picture(number: int) -> bytes:
    width, height = SHAPES[number % len(SHAPES)]
    pixels = np.full((height, width, 3), [number, 90, 255 - number], dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _attributes(number: int) -> dict[str, Any]:
    taken = {"taken": f"2024-{1 + number % 12:02}-03T10:20:00+02:00"} if number % 10 else {}
    return {"place": PLACES[number % 2], "stars": number % 5} | taken


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    """A service with a collection of 150 pictures of four shapes; its address and its parts."""
    home = tmp_path_factory.mktemp("album")
    with serving(home) as (client, service):
        client.create_collection("album")
        for number in range(COUNT):
            client.put_item("album", f"day {number:03}", {"rgb": _picture(number)}, attributes=_attributes(number))
        yield client.url, service


@pytest.fixture
def browsed(visiting: Visiting, album: tuple[str, Service]) -> Iterator[Page]:
    with visiting(f"{album[0]}/#c=album") as page:
        page.wait_for_selector(".card img")
        yield page


def test_rows_fill_the_width_with_pictures_of_their_shape_and_scrolling_reaches_every_item_once(browsed: Page) -> None:
    until(browsed, "[...document.querySelectorAll('.card img')].every((image) => image.naturalWidth > 0)")
    boxes = browsed.locator(".card .picture").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect()).map(({x, y, width, height}) => [x, y, width, height])"
    )
    grid = browsed.locator("#results").bounding_box()
    rows: dict[int, list[list[float]]] = {}
    for box in boxes:
        rows.setdefault(round(box[1]), []).append(box)
    complete = list(rows.values())[:-1]
    assert len(complete) > 2
    for row in complete:
        assert abs(row[-1][0] + row[-1][2] - grid["x"] - grid["width"]) < 2
        assert max(box[3] for box in row) - min(box[3] for box in row) < 2
    for box, (width, height) in zip(boxes[:4], SHAPES, strict=True):
        assert abs(box[2] / box[3] - min(2.8, width / height)) < 0.05
    assert len(keys(browsed)) < COUNT
    _scroll_to_the_end(browsed)
    assert keys(browsed) == [f"day {number:03}" for number in range(COUNT)]


def _scroll_to_the_end(page: Page) -> None:
    """Scroll until there are as many cards as items, for a minute at most."""
    for _ in range(600):
        if len(keys(page)) >= COUNT:
            return
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(100)


def test_an_answer_goes_on_while_one_scrolls(browsed: Page) -> None:
    browsed.fill("#words", "something red")
    browsed.keyboard.press("Enter")
    browsed.wait_for_selector(".asking .card")
    _scroll_to_the_end(browsed)
    assert len(set(keys(browsed))) == len(keys(browsed)) == COUNT


def test_sorted_by_date_the_months_have_headings(browsed: Page) -> None:
    browsed.select_option("#sort", "newest")
    browsed.wait_for_selector(".month")
    assert browsed.inner_text(".month >> nth=0") == "December 2024"
    assert "sort=newest" in browsed.url
    browsed.select_option("#sort", "oldest")
    browsed.wait_for_selector(".month:first-child :text('January 2024')")


def test_filters_are_written_or_chips_with_counts(browsed: Page) -> None:
    browsed.click("#open-filters")
    browsed.fill("#where", "stars > 40")
    browsed.keyboard.press("Enter")
    browsed.wait_for_selector("text=No item passes these filters")
    browsed.click("text=Remove the filters")
    browsed.wait_for_selector(".card")
    assert browsed.locator(".filter").count() == 0
    browsed.click(".value:has-text('Rome')")
    browsed.wait_for_selector(".filter:has-text('place: Rome')")
    assert browsed.inner_text(".value:has-text('Rome') small") == "75"
    settled(browsed)
    assert all(int(key.split()[1]) % 2 == 0 for key in keys(browsed))
    browsed.fill("[aria-label='stars from']", "4")
    browsed.keyboard.press("Tab")
    browsed.wait_for_selector(".filter:has-text('stars from 4')")
    browsed.wait_for_selector("#summary:has-text('15 items')")
    browsed.reload()
    browsed.wait_for_selector("#summary:has-text('15 items')")
    browsed.fill("#words", "red")
    browsed.keyboard.press("Enter")
    browsed.wait_for_selector("#summary:has-text('15 results')")
    for _ in range(2):
        browsed.click(".filter .cross >> nth=0")
    browsed.wait_for_selector(".filter", state="detached")


def test_a_filter_typed_while_the_facets_load_stays(browsed: Page) -> None:
    waiting: list[Any] = []
    browsed.route("**/facets*", lambda route: waiting.append(route))  # a bound method has no signature it can read
    browsed.click("#open-filters")
    browsed.fill("#where", "stars > 40")
    while not waiting:
        browsed.wait_for_timeout(20)
    waiting[0].continue_()
    browsed.wait_for_selector(".facet")
    assert browsed.input_value("#where") == "stars > 40"


def test_arrow_keys_go_through_the_items(browsed: Page) -> None:
    browsed.click('.card[data-key="day 001"] .picture')
    browsed.wait_for_selector("#details[open]")
    shown = browsed.inner_text("#details")
    assert "February 3, 2024 at 10:20" in shown
    assert "Ghent, Belgium" in shown
    browsed.keyboard.press("ArrowRight")
    browsed.wait_for_selector("#lightbox-title:text-is('day 002')")
    browsed.keyboard.press("ArrowLeft")
    browsed.keyboard.press("ArrowLeft")
    browsed.wait_for_selector("#lightbox-title:text-is('day 000')")
    assert browsed.is_disabled("#previous")
    browsed.keyboard.press("+")
    assert browsed.evaluate("document.querySelector('.stage-picture').style.getPropertyValue('--zoom')") == "1.5"
    browsed.keyboard.press("0")
    browsed.keyboard.press("Escape")
    browsed.wait_for_selector("#details:not([open])", state="attached")
    until(browsed, "document.activeElement.closest('.card')?.dataset.key === 'day 000'")  # its close event comes later


def test_the_original_is_opened_and_downloaded(browsed: Page) -> None:
    browsed.click('.card[data-key="day 003"] .picture')
    with browsed.expect_download() as download:
        browsed.click("#details :text-is('Download')")
    assert Path(download.value.path()).read_bytes() == _picture(3)
    assert "/assets/rgb/day%20003" in browsed.get_attribute("#details :text-is('Open original')", "href")


def test_an_original_that_is_gone_is_told(browser: Any, album: tuple[str, Service]) -> None:
    url, service = album
    with service.runtime.database.read() as session:
        held = items.get(session, collections.get(session, "album"), "day 004")
    service.runtime.assets.path(held.assets["rgb"]).unlink()
    page = browser.new_context().new_page()
    page.goto(f"{url}/#c=album&item=day+004")
    page.wait_for_selector("#details :text('The original is gone')")
    assert page.locator(".stage-picture img").get_attribute("data-asset") == "thumbnail"
    assert not page.is_visible("#details :text-is('Download')")
    page.context.close()


def test_on_a_phone_pictures_stand_beside_each_other(visiting: Visiting, album: tuple[str, Service]) -> None:
    with visiting(f"{album[0]}/#c=album", viewport={"width": 390, "height": 844}, has_touch=True) as page:
        page.wait_for_selector(".card img")
        until(page, "[...document.querySelectorAll('.card img')].slice(0, 9).every((image) => image.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        tops = page.locator(".card").evaluate_all(
            "(all) => all.map((each) => Math.round(each.getBoundingClientRect().y))"
        )
        assert len(set(tops)) < len(tops)


def test_the_map_shows_what_is_pointed_at_and_opens_it(visiting: Visiting, site: str) -> None:
    with visiting(f"{site}/#c=shapes") as page:
        page.wait_for_selector("#open-map")
        page.click("#open-map")
        page.wait_for_selector("text=9 items, alike ones near each other")
        assert page.locator("#legend li").count() == 0
        assert page.get_attribute("#back", "href") == "/#c=shapes"
    with visiting(f"{site}/web/map.html#c=shapes&colour_by=kind&limit=1") as page:
        page.wait_for_selector("text=1 of 9 items")
        assert page.locator("#legend li").all_inner_texts() == ["shape (1)"]
        box = page.locator("#map").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.wait_for_selector("#card img")
        assert page.locator("#card").inner_text().strip().endswith(" · shape")
        with page.expect_popup() as opened:
            page.mouse.click(x, y)
        assert "/#c=shapes&item=" in opened.value.url
        page.locator("#map").focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        page.mouse.move(x + 1, y + 1)
        assert page.locator("#card").is_hidden()


COLOURS = {"red": (200, 20, 35), "blue": (70, 120, 180)}


def _plain(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a plain red and a plain blue picture; of the red one a model also said what it shows."""
    home = tmp_path_factory.mktemp("told")
    with serving(home) as (client, service):
        client.create_collection("told")
        for name, colour in COLOURS.items():
            client.put_item("told", name, {"rgb": _plain(colour)}, attributes={"owner": "Ada"}, predict_attributes=True)
        with service.runtime.database.write() as session:
            held = collections.get(session, "told")
            shown = {"shows": {"value": ["Dalmatian", "dog"], "confidence": 0.873}}
            predicted = items.get(session, held, "red").attributes["predicted"] | shown
            change_attributes(session, held, "red", lambda given: {**given, "predicted": predicted})
        yield client.url


@pytest.fixture
def visited(visiting: Visiting, told: str) -> Iterator[Page]:
    with visiting(f"{told}/#c=told") as page:
        page.wait_for_selector(".card img")
        yield page


def test_an_item_shows_what_was_predicted_apart_from_what_was_written(visited: Page) -> None:
    visited.click(".card >> nth=1")
    visited.wait_for_selector("#lightbox-title:text-is('red')")
    section = visited.locator(".predicted")
    assert section.locator("h3").inner_text() == "Predicted from the picture"
    rows = dict(zip(section.locator("dt").all_inner_texts(), section.locator("dd").all_inner_texts(), strict=True))
    assert rows["shows"] == "Dalmatian, dog (87% sure)"
    assert rows["colours"] == "red 100%"
    assert set(rows) == {"shows", "brightness", "colourfulness", "colours"}
    written = visited.locator(".about dl").first.inner_text()
    assert "Ada" in written
    assert "Dalmatian" not in written


def test_filters_say_what_is_predicted(visited: Page) -> None:
    visited.click("#open-filters")
    visited.wait_for_selector("legend:text-is('colours (predicted)')")
    legends = set(visited.locator(".facet legend").all_inner_texts())
    assert {"owner", "brightness (predicted)", "shows (predicted)", "shows confidence (predicted)"} <= legends
    assert not any("colour shares" in legend for legend in legends)
    visited.click(".value:has-text('dog')")
    visited.wait_for_selector(".filter:has-text('shows (predicted): dog')")
    visited.wait_for_selector("#summary:has-text('1 item')")
