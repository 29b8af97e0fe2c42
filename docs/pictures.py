"""Makes the README's pictures of the page from a running demo: `python docs/pictures.py http://127.0.0.1:8765`.

`page.png` and `item.png` are the page and an item in full. `page.webp` is animated: an emoji is drawn, then a
segmentation is painted, roughly as that of a room, and the room is found. Needs Chromium and Playwright (the extra
`test`), and the collections of `make demo`.
"""

import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
ROOM = "test-00014"
CELLS = 8  # of the room's segmentation, each way, that the painting follows
SIZE = {"width": 960, "height": 660}
QUICK, PAUSE, LONG = 70, 900, 2600  # milliseconds of a frame
MOST_BYTES = 1_500_000
_HEART = [
    [(0.5, 0.32), (0.4, 0.2), (0.24, 0.2), (0.15, 0.34), (0.2, 0.52), (0.5, 0.84)],
    [(0.5, 0.32), (0.6, 0.2), (0.76, 0.2), (0.85, 0.34), (0.8, 0.52), (0.5, 0.84)],
]

Page = Any
Points = list[tuple[float, float]]


class Film:
    """Frames of a page, each with the time for which it shows."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.times: list[int] = []

    def take(self, milliseconds: int) -> None:
        self.frames.append(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        self.times.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write an animated WebP, as good as `MOST_BYTES` allow."""
        for quality in (80, 65, 50, 35, 20):
            settings = {"quality": quality, "method": 5, "duration": self.times, "loop": 0, "minimize_size": True}
            self.frames[0].save(path, save_all=True, append_images=self.frames[1:], **settings)
            if path.stat().st_size <= MOST_BYTES:
                return


def stroke(page: Page, canvas: str, points: Points) -> Iterator[None]:
    """Draw through points given as shares of the sheet; stops at each."""
    box = page.locator(canvas).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
        yield
    page.mouse.up()


def strokes_of_room(url: str) -> dict[str, list[Points]]:
    """Level strokes for each class of the room's segmentation, by its name: runs of cells in which it is the largest."""
    assets = f"{url}/v1/collections/rooms/assets"
    ids = np.asarray(Image.open(io.BytesIO(httpx.get(f"{assets}/semseg/{ROOM}").content)))
    names = httpx.get(f"{assets}/semseg.classes/{ROOM}").json()
    found: dict[str, list[Points]] = {}
    side = ids.shape[0] / CELLS
    for row in range(CELLS):
        band = ids[int(row * side) : int((row + 1) * side)]
        cells = [_largest(band[:, int(column * side) : int((column + 1) * side)]) for column in range(CELLS)]
        for first, last in _runs(cells):
            ends = [((first + 0.5) / CELLS, (row + 0.5) / CELLS), ((last + 0.5) / CELLS + 0.001, (row + 0.5) / CELLS)]
            found.setdefault(names[str(cells[first])], []).append(ends)
    return found


def _largest(cell: Any) -> int:
    numbers, counts = np.unique(cell, return_counts=True)
    return int(numbers[counts.argmax()])


def _runs(cells: list[int]) -> Iterator[tuple[int, int]]:
    first = 0
    for place in range(1, len(cells) + 1):
        if place == len(cells) or cells[place] != cells[first]:
            yield first, place - 1
            first = place


def settle(page: Page) -> None:
    """Wait until results and their pictures are there."""
    page.wait_for_timeout(300)
    page.wait_for_selector("body:not(.searching) .card img")
    page.wait_for_timeout(900)


def film_heart(film: Film, url: str) -> None:
    page = film.page
    page.goto(f"{url}/#c=openmoji")
    settle(page)
    film.take(PAUSE)
    page.click("#open-drawing")
    page.wait_for_timeout(200)
    for points in _HEART:
        for _ in stroke(page, "#canvas", points):
            film.take(QUICK)
        settle(page)
        film.take(PAUSE)
    film.take(LONG)


def film_room(film: Film, url: str) -> None:
    page, painted = film.page, strokes_of_room(url)
    page.goto(f"{url}/#c=rooms")
    settle(page)
    page.click("#open-painting")
    page.wait_for_selector(".brush")
    page.select_option("#rest", "wall")
    film.take(PAUSE)
    for name, strokes in painted.items():
        if name == "wall":
            continue
        page.locator(".brush", has_text=name).first.click()
        for points in strokes:
            for _ in stroke(page, "#map", points):
                film.take(QUICK)
        settle(page)
        film.take(PAUSE)
    film.take(LONG)


def main(url: str) -> None:
    """Make all pictures."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 780})
        page.goto(f"{url}/#c=rooms&q=an+orange+dog")
        settle(page)
        page.screenshot(path=FOLDER / "page.png")
        page.goto(f"{url}/#c=rooms&item={ROOM}")
        page.wait_for_selector('.view[data-view="bounding_boxes"] img')
        page.wait_for_timeout(800)
        page.screenshot(path=FOLDER / "item.png")
        film = Film(browser.new_page(viewport=SIZE))
        film_heart(film, url)
        film_room(film, url)
        film.save(FOLDER / "page.webp")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
