"""The page that `anyseek map --html` writes, in a browser: it tells what is pointed at, moves, and asks for nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anyseek.api.maps.page import page_of
from tests.api.web import chromium

Visiting = Callable[..., AbstractContextManager[Any]]

chromium.require()

pytestmark = pytest.mark.browser

NAME = "</script><img src=x>.jpg"
FOUND = {
    "places": [
        {"key": NAME, "x": 0.0, "y": 0.0, "value": "cat", "colour": "#d55e00"},
        {"key": "b", "x": 1.0, "y": 1.0, "value": None, "colour": "#c9c9c9"},
    ],
    "legend": [{"colour": "#d55e00", "label": "cat", "items": 1}, {"colour": "#c9c9c9", "label": "none", "items": 1}],
    "items": 2,
}


def test_the_page_shows_what_is_pointed_at_and_opens_it(visiting: Visiting, tmp_path: Path) -> None:
    file = tmp_path / "map.html"
    file.write_bytes(page_of("mine", FOUND, lambda key: Image.new("RGB", (40, 30), "red"), "http://127.0.0.1:9"))
    with visiting(file.as_uri()) as page:
        assert page.locator("#legend li").all_inner_texts() == ["cat (1)", "none (1)"]
        box = page.locator("#map").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.wait_for_selector("#card img")
        assert page.locator("#card").inner_text().strip() == f"{NAME} · cat"
        opened: list[str] = []
        page.context.on("request", lambda request: opened.append(request.url))
        with page.expect_popup():
            page.mouse.click(x, y)
        page.wait_for_timeout(200)
        assert [url.split("#")[0] for url in opened if not url.startswith("data:")] in ([], ["http://127.0.0.1:9/"])
        page.locator("#map").focus()
        for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        page.mouse.move(x + 1, y + 1)
        assert page.locator("#card").is_hidden()
