"""Searching on the page: typing, drawing, dropping, more like this; and no console error in any of it."""

import math
from typing import Any

import pytest

from benchmarks.page import measure
from tests.api.conftest import picture
from tests.api.web.views import Page, Visiting, give, keys, settled, stroke, until

NAMES = [f"{colour} {shape}" for colour in ("red", "green", "blue") for shape in ("disc", "box", "bar")]


def _wait_for_first(page: Page, key: str) -> None:
    page.wait_for_selector(f'.asking .card:first-child[data-key="{key}"]')


def test_before_any_query_there_is_a_look_into_a_collection_and_another(page: Page) -> None:
    assert page.inner_text("#summary") == "All of shapes"
    assert sorted(keys(page)) == sorted(NAMES)
    assert page.inner_text("#count") == "9 items"
    assert page.inner_text("#state") == "ready"
    assert "hashing" in page.get_attribute("#state", "title")
    until(page, "[...document.querySelectorAll('.card img')].every((one) => one.naturalWidth > 0)")
    page.select_option("#collection", "words")
    page.wait_for_selector("text=All of words")
    assert page.inner_text(".card .words") == "no picture at all"
    assert page.inner_text("#count") == "1 item"


def test_typing_finds_and_the_address_remembers(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("a blue bar")
    page.keyboard.press("Enter")
    _wait_for_first(page, "blue bar")
    assert page.locator(".card:first-child .title").inner_text() == "a blue bar"
    page.reload()
    _wait_for_first(page, "blue bar")
    assert page.input_value("#words") == "a blue bar"


def test_drawing_finds_by_shape_and_undo_takes_it_back(page: Page) -> None:
    page.click("#open-drawing")
    box = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)]
    before = page.locator("#canvas").bounding_box()
    stroke(page, "#canvas", *box)
    page.wait_for_selector('.chip[data-kind="canny_edge"] img')
    after = page.locator("#canvas").bounding_box()
    assert abs(after["y"] - before["y"]) < 2, "the canvas moved under the pen"
    page.wait_for_selector(".asking .card")
    assert {key.split()[1] for key in keys(page)[:3]} == {"box"}
    page.click("#undo")
    page.wait_for_selector(".chip", state="detached")
    page.wait_for_selector("text=All of shapes")
    assert page.is_disabled("#undo")
    stroke(page, "#canvas", *box)
    page.wait_for_selector(".chip")
    page.click("#wipe")
    page.wait_for_selector(".chip", state="detached")


def test_a_finger_draws(visiting: Visiting, site: str) -> None:
    with visiting(f"{site}/#c=shapes", has_touch=True) as page:
        page.wait_for_selector(".card")
        page.tap("#open-drawing")
        page.tap("#canvas")
        page.wait_for_selector('.chip[data-kind="canny_edge"]')
        page.wait_for_selector(".asking .card")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_dropped_or_pasted_picture_finds_itself(page: Page, kind: str) -> None:
    give(page, kind, "mine.png", picture("green", "disc"))
    _wait_for_first(page, "green disc")
    assert "mine.png" in page.inner_text(".chip")
    page.select_option(".chip select", "canny_edge")
    settled(page)
    assert {key.split()[1] for key in keys(page)[:3]} == {"disc"}


def test_parts_are_weighed_pushed_away_and_removed(page: Page) -> None:
    page.click("#open-palette")
    page.click('[aria-label="Add red"]')
    page.wait_for_selector(".asking .card")
    assert all(key.startswith("red") for key in keys(page)[:2])
    page.fill("#words", "disc")
    page.keyboard.press("Enter")
    slider = page.locator('.chip[data-kind="color_palette"] input')
    slider.fill("-1")
    until(page, "!document.querySelector('.card').dataset.key.startsWith('red')")
    assert page.locator(".chip.negative output").inner_text() == "−1.0"
    page.click('.chip[data-kind="color_palette"] .cross')
    page.wait_for_selector(".chip", state="detached")
    page.click("#clear-all")
    page.wait_for_selector("text=All of shapes")
    assert page.input_value("#words") == ""


def test_words_can_be_several_parts_whose_weights_keys_move(page: Page) -> None:
    page.fill("#words", "red")
    page.click("#add-words")
    page.keyboard.type("disc")
    page.keyboard.press("Enter")
    _wait_for_first(page, "red disc")
    assert page.locator(".chip").count() == 2
    settled(page)
    page.focus(".chip input[type=range] >> nth=0")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    settled(page)
    assert page.evaluate("document.activeElement.type") == "range", "the focus stays"
    assert page.inner_text(".chip output >> nth=0") == "+1.3"


def test_everything_is_within_reach_of_the_keyboard(page: Page) -> None:
    page.focus("#words")
    reached = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"pick-file", "open-drawing", "open-palette", "picture", "like"} <= reached


def test_the_drawn_line_is_where_the_pen_was(page: Page) -> None:
    page.click("#open-drawing")
    stroke(
        page, "#canvas", *[(0.5 + 0.3 * math.cos(step), 0.5 + 0.3 * math.sin(step)) for step in (0, 1, 2, 3, 4, 5, 6)]
    )
    ink, blank = page.evaluate(
        """() => {
          const sheet = document.getElementById("canvas");
          const all = sheet.getContext("2d").getImageData(0, 0, sheet.width, sheet.height).data;
          const at = (x, y) => all[4 * (Math.round(y * sheet.height) * sheet.width + Math.round(x * sheet.width))];
          return [at(0.8, 0.5), at(0.02, 0.02)];
        }"""
    )
    assert ink < 60
    assert blank == 255


@pytest.mark.slow
def test_each_stroke_is_timed_and_what_is_loaded_is_counted(browser: Any, site: str) -> None:
    page = browser.new_page()
    report = measure(page, site, "shapes", 2)
    page.close()
    assert report["strokes"] == 2
    assert 0 < report["median_ms"] <= report["longest_ms"]
    assert 20_000 < report["first_paint_bytes"] < 100_000
