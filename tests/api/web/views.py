"""What is done on the page in several tests: drawing, asking, and reading what it shows."""

import base64
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Page = Any
Visiting = Callable[..., AbstractContextManager[Page]]


# Gives the page a file as a person does, by `drop` or `paste`.
_GIVE = """([kind, name, type, text]) => {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


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


def until(page: Page, condition: str) -> None:
    """Wait for a condition in JavaScript; the page's policy forbids Playwright's own way of it."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def give(page: Page, kind: str, name: str, data: bytes, media_type: str = "image/png") -> None:
    """Drop a file on a page or paste it there."""
    page.evaluate(_GIVE, [kind, name, media_type, base64.b64encode(data).decode()])
