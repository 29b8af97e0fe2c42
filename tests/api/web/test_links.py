"""Everything that is looked for stands in the address: links, reloads, Back, and addresses that somebody writes."""

import io
import re
from typing import Any

import numpy as np
from PIL import Image

from tests.api.conftest import picture
from tests.api.web.views import Page, Visiting, give, keys, settled, stroke

_BOX = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)]


def _search(page: Page, words: str, first: str) -> None:
    page.fill("#words", words)
    page.keyboard.press("Enter")
    page.wait_for_selector(f'.asking .card:first-child[data-key="{first}"]')


def test_a_written_address_changes_the_page(page: Page) -> None:
    page.evaluate("location.hash = '#c=shapes&q=a+blue+bar'")
    page.wait_for_selector('.asking .card:first-child[data-key="blue bar"]')
    assert page.input_value("#words") == "a blue bar"
    page.evaluate("location.hash = '#c=words'")
    page.wait_for_selector("text=All of words")
    assert page.input_value("#words") == ""
    assert page.input_value("#collection") == "words"


def test_back_and_forward_go_through_the_queries(page: Page) -> None:
    _search(page, "a blue bar", "blue bar")
    _search(page, "a red disc", "red disc")
    page.go_back()
    page.wait_for_selector('.card:first-child[data-key="blue bar"]')
    assert page.input_value("#words") == "a blue bar"
    page.go_back()
    page.wait_for_selector("text=All of shapes")
    page.go_forward()
    page.wait_for_selector('.asking .card:first-child[data-key="blue bar"]')


def test_strokes_of_one_drawing_are_one_step_back(page: Page) -> None:
    page.click("#open-drawing")
    stroke(page, "#canvas", *_BOX)
    page.wait_for_selector(".asking .card")
    settled(page)
    before = page.evaluate("history.length")
    stroke(page, "#canvas", (0.3, 0.5), (0.7, 0.5))
    settled(page)
    assert page.evaluate("history.length") == before
    page.go_back()
    page.wait_for_selector("text=All of shapes")
    assert page.is_disabled("#undo")


def test_a_link_brings_the_whole_query_to_somebody_else(page: Page, visiting: Visiting) -> None:
    page.click("#open-drawing")
    stroke(page, "#canvas", *_BOX)
    page.click("#open-palette")
    page.click('[aria-label="Add red"]')
    page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": picture("red", "box")})
    page.wait_for_selector(".chip >> nth=2")
    _search(page, "box", "red box")
    settled(page)
    found = keys(page)
    assert len(page.url) < 6_000
    with visiting(page.url) as other:
        other.wait_for_selector(".asking .card")
        kinds = other.locator(".chip").evaluate_all("(chips) => chips.map((chip) => chip.dataset.kind)")
        assert kinds == ["caption", "canny_edge", "color_palette", "rgb"]
        assert "mine.png" in other.inner_text("#chips")
        assert keys(other) == found
        other.click("#open-drawing")
        assert other.is_enabled("#undo")


def test_what_is_too_large_for_a_link_is_asked_for_again_and_an_item_that_is_gone_is_told(
    page: Page, browser: Any, site: str
) -> None:
    give(page, "drop", "noise.png", _noise())
    page.wait_for_selector(".asking .card")
    settled(page)
    opened = browser.new_context().new_page()
    opened.goto(page.url)
    opened.wait_for_selector("#error:not([hidden])")
    assert "too large for it; drop the file again" in opened.inner_text("#error")
    opened.goto(f"{site}/#c=shapes&item=nobody")
    opened.wait_for_selector("#error:has-text('nobody')")
    opened.context.close()


def _noise() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_an_item_has_an_address(page: Page, visiting: Visiting) -> None:
    page.click('.card[data-key="red disc"] .picture')
    page.wait_for_selector("#details[open]")
    assert re.search("item=red", page.url)
    with visiting(page.url) as other:
        other.wait_for_selector("#details[open]")
        assert other.inner_text("#lightbox-title") == "a red disc"
    page.go_back()
    page.wait_for_selector("#details:not([open])", state="attached")
    page.go_forward()
    page.wait_for_selector("#details[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#details:not([open])", state="attached")
    page.wait_for_url(lambda url: "item=" not in url)


def test_an_item_that_is_opened_again_at_once_stays_open(page: Page) -> None:
    page.click('.card[data-key="red disc"] .picture')
    page.wait_for_selector("#details[open]")
    # The event of the first closing comes when the item is open again, as on a busy machine.
    page.evaluate("document.addEventListener('close', (event) => event.stopPropagation(), {capture: true, once: true})")
    page.go_back()
    page.wait_for_selector("#details:not([open])", state="attached")
    page.go_forward()
    page.wait_for_selector("#details[open]")
    page.evaluate("document.querySelector('#details').dispatchEvent(new Event('close'))")
    settled(page)
    assert page.is_visible("#details[open]")
    assert "item=red" in page.url
    page.keyboard.press("Escape")  # by hand it closes
    page.wait_for_url(lambda url: "item=" not in url)


def test_closing_an_item_leaves_the_grid_as_it_was(page: Page) -> None:
    _search(page, "a blue bar", "blue bar")
    asked: list[str] = []
    page.on("request", lambda request: request.method == "POST" and asked.append(request.url))
    page.click('.card[data-key="red disc"] .picture')
    page.wait_for_selector("#details[open]")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "item=" not in url)
    settled(page)
    assert asked == []
    assert page.input_value("#words") == "a blue bar"


def test_a_link_that_was_cut_off_still_opens_the_collection(visiting: Visiting, site: str) -> None:
    with visiting(f"{site}/#c=shapes&p=Rc-xDg&f=%E0%A4%A") as page:
        page.wait_for_selector(".card")
        assert page.inner_text("#summary") == "All of shapes"


def test_more_like_this_but(page: Page) -> None:
    page.hover('.card[data-key="green box"]')
    page.click('.card[data-key="green box"] .like')
    page.wait_for_selector('.asking .card:first-child[data-key="green box"]')
    assert "like=green" in page.url
    assert page.evaluate("document.activeElement.id") == "words"
    assert page.get_attribute("#words", "placeholder") == "Like this, but … say what"
    page.keyboard.type("a red disc")
    page.keyboard.press("Enter")
    page.wait_for_selector(".chip >> nth=1")
    page.wait_for_function("location.hash.includes('q=a')")
    page.hover('.card[data-key="green box"]')
    page.click('.card[data-key="green box"] .less')
    page.wait_for_selector(".chip.negative")


class Held:
    """Requests that are held back until they are let go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self.page, self.waiting = page, []
        page.route(pattern, lambda route: self.waiting.append(route))  # a bound method has no signature it can read

    def wait(self) -> None:
        while not self.waiting:
            self.page.wait_for_timeout(20)

    def let_go(self) -> None:
        self.wait()
        while self.waiting:
            self.waiting.pop().continue_()


def test_words_typed_while_a_link_is_read_stay(page: Page) -> None:
    held = Held(page, "**/items/red%20disc")
    page.evaluate("location.hash = '#c=shapes&q=old&p=' + " + _LINK_TO_A_VIEW)
    held.wait()
    page.fill("#words", "a blue bar")
    held.let_go()
    page.wait_for_selector('.asking .card:first-child[data-key="blue bar"]')
    assert page.input_value("#words") == "a blue bar"
    assert "q=a+blue+bar" in page.url


# A link with a view of an item, which has to be asked for: [{"k": "rgb", "i": "red disc"}], deflated.
_LINK_TO_A_VIEW = "'i65WylayUlAqSk9S0lFQygSzU1MUUjKLk5VqYwE'"


def test_of_two_addresses_the_later_one_wins(page: Page) -> None:
    held = Held(page, "**/items/red%20disc")
    page.evaluate("location.hash = '#c=shapes&q=old&p=' + " + _LINK_TO_A_VIEW)
    held.wait()
    page.evaluate("location.hash = '#c=words'")
    page.wait_for_selector("text=All of words")
    held.let_go()
    settled(page)
    assert page.input_value("#words") == ""
    assert page.inner_text("#summary") == "All of words"


def test_an_item_that_was_closed_before_it_came_stays_closed(page: Page) -> None:
    held = Held(page, "**/items/red%20disc")
    page.evaluate("location.hash = '#c=shapes&item=red+disc&like=blue+bar'")
    settled(page)
    page.evaluate("location.hash = '#c=shapes'")
    page.wait_for_selector("text=All of shapes")
    if held.waiting:
        held.let_go()
    settled(page)
    assert not page.is_visible("#details")


def test_a_chosen_value_is_pressed_at_once(page: Page) -> None:
    page.click("#open-filters")
    page.click(".value:has-text('shape')")
    assert page.get_attribute(".value:has-text('shape')", "aria-pressed") == "true"
