"""An ambiguous query has a chip for each reading, which keeps only its hits."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from anyseek import Client
from tests.api.web import chromium
from tests.api.web.views import keys, settled

Page = Any
Visiting = Callable[..., AbstractContextManager[Page]]
Until = Callable[[Page, str], None]

chromium.require()

pytestmark = pytest.mark.browser

CHIPS = "#readings .reading"


@pytest.fixture(scope="module")
def bats(site: str) -> str:
    """The page of a collection in which "bat" is said of two kinds of things."""
    with Client(site) as client:
        client.create_collection("bats")
        for n in range(8):
            client.put_item("bats", f"cave {n}", caption="bat sleeping upside down in a dark cave")
            client.put_item("bats", f"ball {n}", caption="bat hitting the ball at baseball stadium")
    return f"{site}/#c=bats"


def ask(page: Page, words: str) -> None:
    page.wait_for_selector(".card")
    page.fill("#words", words)
    page.keyboard.press("Enter")
    page.wait_for_selector(".score")
    settled(page)


def test_a_chip_keeps_the_hits_of_its_reading(visiting: Visiting, bats: str, until: Until) -> None:
    with visiting(bats) as page:
        ask(page, "bat")
        page.wait_for_selector(CHIPS)
        assert len(keys(page)) == 16
        names = page.locator(CHIPS).all_inner_texts()
        assert len(names) == 2
        assert all(name.endswith("(8)") for name in names)
        cave = next(number for number, name in enumerate(names) if "cave" in name)
        page.locator(CHIPS).nth(cave).click()
        until(page, "document.querySelectorAll('.card').length === 8")
        settled(page)
        assert sorted(keys(page)) == [f"cave {n}" for n in range(8)]
        assert page.locator(CHIPS).nth(cave).get_attribute("aria-pressed") == "true"
        page.reload()  # it stands in the address
        until(page, "document.querySelectorAll('.score').length === 8")
        page.go_back()
        until(page, "document.querySelectorAll('.score').length === 16")
        page.go_forward()
        until(page, "document.querySelectorAll('.score').length === 8")
        page.locator(CHIPS).nth(cave).click()  # once more shows all again
        until(page, "document.querySelectorAll('.score').length === 16")


def test_another_query_has_not_the_reading_of_the_last(visiting: Visiting, bats: str, until: Until) -> None:
    with visiting(bats) as page:
        ask(page, "bat")
        page.locator(CHIPS).first.click()
        until(page, "document.querySelectorAll('.card').length === 8")
        ask(page, "a bat")
        until(page, "document.querySelectorAll('.card').length === 16")
        assert "reading=" not in page.evaluate("location.hash")


def test_what_is_clear_or_unknown_has_no_chips(visiting: Visiting, bats: str, until: Until) -> None:
    with visiting(bats.replace("bats", "shapes") + "&q=a+red+disc&reading=nothing") as page:
        page.wait_for_selector(".score")
        settled(page)
        assert page.is_hidden("#readings")
        assert len(keys(page)) == 9  # a link may be older than its reading
        page.evaluate("location.hash = '#c=bats&q=bat'")
        page.wait_for_selector(CHIPS)
        page.evaluate("location.hash = '#c=gone&q=bat'")
        until(page, "document.querySelector('#readings').hidden")
