"""What is done on the page in several tests: drawing, asking, and reading what it shows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from anyseek.api.service import Service

Page = Any
Picture = Callable[..., bytes]
StartService = Callable[..., tuple[str, Service]]
Visiting = Callable[..., AbstractContextManager[Page]]
Until = Callable[[Page, str], None]
Give = Callable[..., None]


def keys(page: Page) -> list[str]:
    """The keys of the items in the grid, in its order."""
    return [card.get_attribute("data-key") for card in page.query_selector_all(".card")]


def stroke(page: Page, canvas: str, *points: tuple[float, float]) -> None:
    """Draw through points given as shares of the sheet, once it is there and stands still."""
    page.locator(canvas).hover(trial=True)
    box = page.locator(canvas).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)  # as a hand does; few points would make round corners
    page.mouse.up()


def settled(page: Page) -> None:
    """Wait until what was changed last has been looked for and is shown."""
    page.wait_for_selector("body:not(.searching)")


def asked(page: Page, act: Callable[[], None]) -> list[dict[str, Any]]:
    """The parts of the query that `act` has the page send."""
    with page.expect_request("**/query") as sent:
        act()
    parts: list[dict[str, Any]] = sent.value.post_data_json["parts"]
    return parts
