"""What somebody does while an answer is on its way stays: nothing that comes late overwrites it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from anyseek.api.service import Service
from tests.api.web import chromium
from tests.api.web.views import settled

Page = Any
StartService = Callable[..., tuple[str, Service]]
Visiting = Callable[..., AbstractContextManager[Page]]

chromium.require()

pytestmark = pytest.mark.browser


class Held:
    """Requests that are held back until they are let go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self.page, self.waiting = page, []  # type: ignore[var-annotated]
        page.route(pattern, lambda route: self.waiting.append(route))  # a bound method has no signature it can read

    def wait(self) -> None:
        while not self.waiting:
            self.page.wait_for_timeout(20)

    def let_go(self) -> None:
        self.wait()
        while self.waiting:
            self.waiting.pop().continue_()


def test_words_typed_while_the_model_loads_stay(visiting: Visiting, start_service: StartService) -> None:
    url, service = start_service(lifespan="off")
    with visiting(url) as page:
        page.wait_for_selector("#state.loading")
        page.fill("#words", "a red disc")
        service.start()
        page.wait_for_selector("#state.ready")
        settled(page)
        assert page.input_value("#words") == "a red disc"


def test_words_typed_while_a_link_is_read_stay(page: Page) -> None:
    held = Held(page, "**/items/red%20disc")
    page.evaluate("location.hash = '#c=shapes&q=old&p=' + " + _LINK_TO_A_VIEW)
    held.wait()
    page.fill("#words", "a blue bar")
    held.let_go()
    page.wait_for_selector('.card:first-child[data-key="blue bar"] .score')
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
    page.wait_for_timeout(200)  # in which the older one would show
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


def test_a_weight_moved_by_keys_keeps_the_focus(page: Page) -> None:
    page.fill("#words", "red")
    page.click("#add-words")
    page.wait_for_selector(".chip")
    settled(page)
    page.focus(".chip input[type=range]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    settled(page)
    assert page.evaluate("document.activeElement.type") == "range"
    assert page.inner_text(".chip output") == "+1.3"


def test_a_chosen_value_is_pressed_at_once(page: Page) -> None:
    page.click("#open-filters")
    page.click(".value:has-text('shape')")
    assert page.get_attribute(".value:has-text('shape')", "aria-pressed") == "true"
