"""The map of a collection in a browser: it tells what is pointed at, moves, and opens an item."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.api.web import chromium

Visiting = Callable[..., AbstractContextManager[Any]]

chromium.require()

pytestmark = pytest.mark.browser


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
