"""Makes the pictures of the page from a running demo: `python docs/pictures.py http://127.0.0.1:8765 [NAME…]`.

`page.png` and `item.png` are the page and an item in full. `page.webp` is animated: an emoji is drawn, then a
segmentation is painted over that of a room, and the room is found. Those of docs/querying.md are small:
`red-heart.webp`, `why.webp` and `painted-room.webp`. All are made, or those that are named. Needs
Chromium and Playwright (the extra `test`), and the collections of `make demo`.
"""

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
ROOM = "test-00014"
CELLS = 12  # a side, of the painting; a stroke goes along cells of one class
SHEET = 448  # pixels of the sheet, on which a brush is as wide as a cell
STROKES_PER_FRAME = 3
SIZE = {"width": 1000, "height": 940}  # sheet, brushes and the first hits
SHOWN = (750, 705)  # pixels of a frame
QUICK, PAUSE, LONG = 70, 900, 2600  # milliseconds of a frame
MAX_BYTES = 500_000
WINDOW, SMALL, MAX_SMALL_BYTES = {"width": 1000, "height": 660}, (800, 528), 40_000

# Pictures that are decoded; one that has only been loaded may still be blank.
_ALL_SHOWN = """Promise.all([...document.querySelectorAll('.card img')]
  .filter((image) => image.getBoundingClientRect().top < innerHeight)
  .map((image) => image.decode().then(() => true, () => false))).then((shown) => shown.every(Boolean))"""

Page = Any
Points = list[tuple[float, float]]


class Film:
    """Frames of a page, each with the time for which it shows."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.times: list[int] = []

    def take(self, milliseconds: int) -> None:
        shown = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        self.frames.append(shown.resize(SHOWN, Image.Resampling.LANCZOS))
        self.times.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write an animated WebP, as good as `MAX_BYTES` allow."""
        for quality in (80, 65, 50, 40, 30, 20):
            settings = {"quality": quality, "method": 4, "duration": self.times, "loop": 0, "minimize_size": True}
            file = io.BytesIO()
            self.frames[0].save(file, "WEBP", save_all=True, append_images=self.frames[1:], **settings)
            if len(file.getbuffer()) <= MAX_BYTES:
                break
        path.write_bytes(file.getvalue())


def stroke(page: Page, canvas: str, points: Points) -> Iterator[None]:
    """Draw through points given as shares of the sheet; stops at each."""
    box = page.locator(canvas).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
        yield
    page.mouse.up()


def strokes_of_room(url: str) -> dict[str, list[Points]]:
    """Level strokes for each class of the room's segmentation, by its name: runs of cells where it is the largest."""
    assets = f"{url}/v1/collections/rooms/assets"
    ids = np.asarray(Image.open(io.BytesIO(httpx.get(f"{assets}/semseg/{ROOM}").content)))
    names = httpx.get(f"{assets}/semseg.classes/{ROOM}").json()
    found: dict[str, list[Points]] = {}
    for row, band in enumerate(np.array_split(ids, CELLS)):
        cells = [_largest(cell) for cell in np.array_split(band, CELLS, axis=1)]
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
    """Wait until results are there, and all pictures of them that are in sight."""
    page.wait_for_selector("body:not(.searching) .card img", timeout=300_000)
    while not page.evaluate(_ALL_SHOWN):
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)  # in which what has been loaded is painted


def halves_of_heart() -> list[Points]:
    """Two strokes, from the notch to the tip."""
    angles = np.linspace(0, np.pi, 18)
    across = 0.38 * np.sin(angles) ** 3
    down = 0.46 - 0.024 * (13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles))
    return [list(zip((0.5 + side * across).tolist(), down.tolist(), strict=True)) for side in (-1, 1)]


def film_heart(film: Film, url: str) -> None:
    page = film.page
    page.goto(f"{url}/#c=openmoji")
    settle(page)
    film.take(PAUSE)
    page.click("#open-drawing")
    page.wait_for_timeout(200)
    for points in halves_of_heart():
        for number, _ in enumerate(stroke(page, "#canvas", points)):
            if number % STROKES_PER_FRAME == 0:
                film.take(QUICK)
        settle(page)
        film.take(PAUSE)
    film.take(LONG)


def choose_brush(page: Page, name: str) -> None:
    """The brush of that name; one that is not offered is written."""
    offered = page.locator(f'.brush:text-is("{name}")')
    if offered.count():
        offered.click()
    else:
        page.fill("#other-brush input", name)
        page.keyboard.press("Enter")


def begin_painting(page: Page, url: str, brush: int) -> None:
    """A sheet that is all wall, before the demo's rooms, and a brush that is so many pixels wide."""
    page.goto(f"{url}/#c=rooms")
    settle(page)
    page.click("#open-painting")
    page.wait_for_selector(".brush")
    page.select_option("#rest", "wall")
    page.fill("#brush-width", str(brush))


def film_room(film: Film, url: str) -> None:
    page, painted = film.page, strokes_of_room(url)
    begin_painting(page, url, SHEET // CELLS + 2)
    film.take(PAUSE)
    for name, strokes in painted.items():
        if name == "wall":
            continue
        choose_brush(page, name)
        for number, points in enumerate(strokes):
            list(stroke(page, "#map", points))
            if number % STROKES_PER_FRAME == 0:
                film.take(QUICK)
        page.evaluate("scrollTo(0, 0)")
        settle(page)
        film.take(PAUSE)
    film.take(LONG)


def show_red_heart(page: Page, url: str) -> None:
    """The word love, a drawn heart and red."""
    page.goto(f"{url}/#c=openmoji&q=love")
    settle(page)
    page.click("#open-drawing")
    page.wait_for_timeout(200)
    for points in halves_of_heart():
        list(stroke(page, "#canvas", points))
    page.wait_for_selector('.chip[data-kind="canny_edge"] img')
    page.click("#open-palette")
    page.click('[aria-label="Add red"]')
    page.wait_for_selector('.chip[data-kind="color_palette"]')
    page.click("#open-palette")
    settle(page)
    page.wait_for_selector('.asking .card:first-child[data-key="2764"]', state="attached")


def show_why(page: Page, url: str) -> None:
    """Why the red heart is found by these."""
    show_red_heart(page, url)
    page.click(".card:first-child .picture")
    page.wait_for_selector("#why")
    page.click("#why summary")
    page.wait_for_selector(".why-part")
    # It names folders of whoever takes the picture.
    page.evaluate("document.querySelectorAll('#details dl').forEach((list) => { list.style.visibility = 'hidden'; })")
    page.evaluate("document.querySelector('#why').scrollIntoView({ block: 'start' })")
    page.wait_for_timeout(300)


def show_painted_room(page: Page, url: str) -> None:
    """The hits of a room's segmentation, beside the sheet on which it is painted roughly."""
    begin_painting(page, url, SHEET // CELLS + 12)
    for name, strokes in strokes_of_room(url).items():
        if name != "wall":
            choose_brush(page, name)
            page.evaluate("scrollTo(0, 0)")
            for points in strokes:
                list(stroke(page, "#map", points))
            settle(page)
    page.wait_for_timeout(3000)  # a service that is busy answers the last stroke late
    settle(page)


def picture(page: Page, name: str) -> None:
    """A PNG of the page in 256 colours, which is a third of its size."""
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown.quantize(256, kmeans=1).save(FOLDER / name, optimize=True)


def small_picture(page: Page, name: str) -> None:
    """A WebP of the page, as good as `MAX_SMALL_BYTES` allow."""
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(SMALL, Image.Resampling.LANCZOS)
    for quality in (80, 65, 50, 40, 30, 20):
        file = io.BytesIO()
        shown.save(file, "WEBP", quality=quality, method=6)
        if len(file.getbuffer()) <= MAX_SMALL_BYTES:
            break
    (FOLDER / name).write_bytes(file.getvalue())


def make_page(browser: Any, url: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 780})
    page.goto(f"{url}/#c=rooms&q=an+orange+dog")
    settle(page)
    picture(page, "page.png")


def make_item(browser: Any, url: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 780})
    page.goto(f"{url}/#c=rooms&item={ROOM}")
    page.wait_for_selector('.view[data-view="bounding_boxes"] img')
    while not page.evaluate("[...document.querySelectorAll('.view img')].every((image) => image.naturalWidth)"):
        page.wait_for_timeout(100)
    picture(page, "item.png")


def make_film(browser: Any, url: str) -> None:
    film = Film(browser.new_page(viewport=SIZE))
    film_heart(film, url)
    film_room(film, url)
    film.save(FOLDER / "page.webp")


MADE: dict[str, Callable[[Any, str], None]] = {"page.png": make_page, "item.png": make_item, "page.webp": make_film}
SHOWS = {"red-heart.webp": show_red_heart, "why.webp": show_why, "painted-room.webp": show_painted_room}


def main(url: str, names: list[str]) -> None:
    """Make the pictures of those names, or all."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in names or [*MADE, *SHOWS]:
            if name in MADE:
                MADE[name](browser, url)
            else:
                page = browser.new_page(viewport=WINDOW)
                page.set_default_timeout(300_000)
                SHOWS[name](page, url)
                small_picture(page, name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2:])
