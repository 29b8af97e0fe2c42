"""Items of which more is known than their picture, with a model that takes all of it: views, queries, guesses."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek import Client
from anyseek.model.galleries.photos import FOLDER, read_views
from tests.api.conftest import picture, serving
from tests.api.web.views import Page, Visiting, asked, give, settled, stroke, until

_MODEL = "4M-21_B:token_budget=16"
ROOM = "test-00014"


def put_room(client: Client, view: dict[str, Any]) -> None:
    """Put one of the demo's rooms with all that is known of it."""
    maps = {name: file if isinstance(file, str) else file["file"] for name, file in view["modalities"].items()}
    files: dict[str, bytes | Path] = {name: FOLDER / file for name, file in (maps | {"rgb": view["file"]}).items()}
    files |= {name: json.dumps(view[name]).encode() for name in ("bounding_boxes", "metadata")}
    attributes = view["attributes"] | {name: view[name] for name in ("metadata", "color_palette")}
    classes = view["modalities"]["semseg"]["classes"]
    client.put_item("rooms", view["key"], files, view["caption"], attributes | {"classes": classes})


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, random_models: Path) -> Iterator[str]:
    """A running service whose model, of random weights, takes every modality, with both demo collections in small."""
    home = tmp_path_factory.mktemp("everything")
    (home / "models").symlink_to(random_models / "models")
    with serving(home, _MODEL) as (client, _):
        client.create_collection("openmoji")
        client.put_item("openmoji", "1F534", {"rgb": picture("red", "disc")}, "red circle")
        client.create_collection("rooms")
        for view in read_views():
            if view["key"] in (ROOM, "test-00270"):
                put_room(client, view)
        yield client.url


@pytest.fixture
def rooms(visiting: Visiting, everything: str) -> Iterator[Page]:
    with visiting(f"{everything}/#c=rooms") as page:
        page.wait_for_selector(".card")
        page.wait_for_selector("#state.ready")
        yield page


def _open(page: Page, key: str = ROOM) -> None:
    page.locator(f'.card[data-key="{key}"] .picture').click()
    page.wait_for_selector("#details[open]")


def _png(pixels: Any) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "PNG")
    return file.getvalue()


def _scribble() -> bytes:
    sheet = Image.new("L", (96, 96), 255)
    ImageDraw.Draw(sheet).ellipse((20, 20, 70, 70), outline=0, width=3)
    return _png(sheet)


def test_an_item_shows_all_that_is_known_of_it(rooms: Page) -> None:
    _open(rooms)
    rooms.wait_for_selector('.view[data-view="bounding_boxes"] img')
    views = rooms.locator(".view").evaluate_all("(all) => all.map((one) => one.dataset.view)")
    assert views == ["rgb", "depth", "normal", "semseg", "bounding_boxes", "metadata", "color_palette"]
    until(rooms, "[...document.querySelectorAll('.view img')].every((one) => one.naturalWidth > 0)")
    for view in ("depth", "semseg", "bounding_boxes"):  # in colour, and large
        rooms.click(f'.view[data-view="{view}"]')
        until(rooms, "document.querySelector('#details .stage-picture img')?.naturalWidth === 448")
        assert rooms.get_attribute(f'.view[data-view="{view}"]', "aria-pressed") == "true"
    rooms.click('.view[data-view="metadata"]')
    rooms.wait_for_selector("#details .stage-picture dl")
    assert "brightness" in rooms.inner_text("#details .stage-picture")
    rooms.click("#details summary")
    rooms.wait_for_selector("#details dt[title='room.kind']")


def test_each_view_of_an_item_is_a_query(rooms: Page) -> None:
    forms = {"depth": "far-bright", "normal": "right-up-viewer", "semseg": "ids"}
    buttons = {"depth": "its depth map", "normal": "its surface normals", "semseg": "its segmentation"}
    for view, button in buttons.items():
        _open(rooms)
        rooms.click(f'.view[data-view="{view}"]')
        (part,) = asked(rooms, lambda button=button: rooms.click(f"text=Search with {button}"))
        assert (part["modality"], part["data"][:8]) == (view, "iVBORw0K")  # a PNG
        assert part.get("form", "ids") == forms[view]
        assert ("desk" in part.get("classes", {}).values()) == (view == "semseg")
        rooms.wait_for_selector(f'.chip[data-kind="{view}"] img')
        rooms.wait_for_selector(".asking .card")
        assert "An orange desk" in rooms.inner_text(".chip .name")
        assert not rooms.query_selector(".understood"), "what the service holds is not guessed at"
        _clear(rooms)


def test_a_dropped_map_says_how_it_is_read_and_is_told_otherwise(rooms: Page, visiting: Visiting) -> None:
    (part,) = asked(rooms, lambda: give(rooms, "drop", "far.png", (FOLDER / "depth" / f"{ROOM}.png").read_bytes()))
    assert "form" not in part
    rooms.wait_for_selector(".chip .understood")
    assert rooms.inner_text(".understood span").startswith("far.png is a depth map in which larger is farther: ")
    forms = rooms.locator(".understood option").all_inner_texts()
    assert forms == ["guess it", "larger is farther", "larger is nearer", "larger is nearer, as 1 / distance"]
    assert rooms.input_value(".understood select") == "far-bright"
    (told,) = asked(rooms, lambda: rooms.select_option(".understood select", "near-bright"))
    assert told["form"] == "near-bright"
    rooms.wait_for_selector("text=far.png is a depth map in which larger is nearer: as you said.")
    settled(rooms)
    with visiting(rooms.url) as other:  # the choice stands in the address
        other.wait_for_selector("text=larger is nearer: as you said.")
        assert other.input_value(".understood select") == "near-bright"
    (guessed,) = asked(rooms, lambda: rooms.select_option(".understood select", ""))
    assert "form" not in guessed
    rooms.wait_for_selector(".understood >> text=larger is farther: ")
    rooms.select_option(".chip .what select", "rgb")  # a picture leaves nothing open
    rooms.wait_for_selector(".understood", state="detached")


def test_colours_of_an_item_and_words_are_asked_together(rooms: Page) -> None:
    _open(rooms)
    rooms.click('.view[data-view="color_palette"]')
    rooms.click("text=Search with its colours")
    rooms.wait_for_selector('.chip[data-kind="color_palette"] .stripes')
    rooms.fill("#words", "a lamp")
    words, colours = asked(rooms, lambda: rooms.keyboard.press("Enter"))
    assert words["text"] == "a lamp"
    assert colours["text"].count("#") == 5
    rooms.wait_for_selector(".asking .card")


def _files() -> Iterator[tuple[str, bytes, str]]:
    """Names, contents, and what each is taken for."""
    for kind, ending in (("depth", "png"), ("normal", "png"), ("semseg", "png"), ("rgb", "jpg")):
        yield f"x.{ending}", (FOLDER / kind / f"{ROOM}.{ending}").read_bytes(), kind
    yield "line.png", _scribble(), "canny_edge"
    yield "my_depth.png", _png(np.arange(64, dtype=np.uint8).reshape(8, 8)), "depth"
    yield "b.json", json.dumps([{"box": [0.1, 0.1, 0.5, 0.6], "label": "chair"}]).encode(), "bounding_boxes"
    yield "m.json", json.dumps({"brightness": 120}).encode(), "metadata"
    yield "c.json", json.dumps(["#ff0000"]).encode(), "color_palette"
    yield "w.txt", b"a red chair", "caption"


def _clear(page: Page) -> None:
    page.click("#clear-all")
    page.wait_for_selector("text=All of rooms")


def test_files_are_taken_for_what_they_are(rooms: Page) -> None:
    for name, data, kind in _files():
        (part,) = asked(rooms, lambda name=name, data=data: give(rooms, "drop", name, data, ""))
        assert part["modality"] == kind, name
        rooms.wait_for_selector(f'.chip[data-kind="{kind}"]')
        rooms.wait_for_selector(".asking .card")
        _clear(rooms)


def test_a_map_without_a_picture_format_is_shown_and_can_be_called_otherwise(rooms: Page) -> None:
    file = io.BytesIO()
    np.save(file, np.linspace(1, 4, 64, dtype=np.float32).reshape(8, 8))
    give(rooms, "drop", "far.npy", file.getvalue(), "")
    rooms.wait_for_selector('.chip[data-kind="depth"] img')
    until(rooms, "document.querySelector('.chip img').naturalWidth === 448")
    rooms.click(".chip .look")
    until(rooms, "document.querySelector('#looking[open] img')?.naturalWidth === 448")
    rooms.keyboard.press("Escape")
    kinds = rooms.locator(".chip select option").all_inner_texts()
    assert kinds[0] == "depth map"
    assert "DINOv2 vector" in kinds


def test_a_painted_segmentation_is_a_query(rooms: Page) -> None:
    rooms.click("#open-painting")
    rooms.wait_for_selector(".brush:text-is('floor')")
    assert "desk" in rooms.inner_text("#brushes")
    rooms.select_option("#rest", "wall")
    rooms.click(".brush:text-is('floor')")
    asked(rooms, lambda: stroke(rooms, "#map", (0.05, 0.9), (0.95, 0.9)))
    rooms.click(".brush:text-is('desk')")
    (part,) = asked(rooms, lambda: stroke(rooms, "#map", (0.3, 0.5), (0.6, 0.5)))
    ids = np.load(io.BytesIO(base64.b64decode(part["data"])))
    names = {int(number): name for number, name in part["classes"].items()}
    assert [names[ids[row, column]] for row, column in ((100, 50), (56, 50), (10, 10))] == ["floor", "desk", "wall"]
    rooms.wait_for_selector(".asking .card")
    settled(rooms)
    (again,) = asked(rooms, rooms.reload)
    assert again["data"] == part["data"]
    assert again["classes"] == part["classes"]
    rooms.click("#open-painting")
    rooms.wait_for_selector(".brush")
    rooms.fill("#other-brush input", "harp")
    rooms.keyboard.press("Enter")
    assert rooms.get_attribute(".brush:text-is('harp')", "aria-pressed") == "true"
    (part,) = asked(rooms, lambda: stroke(rooms, "#map", (0.3, 0.5), (0.6, 0.5)))
    assert "harp" in part["classes"].values()


def _width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_on_a_phone_nothing_is_too_wide_and_results_stay_in_sight(visiting: Visiting, everything: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    with visiting(f"{everything}/#c=rooms", **phone) as page:
        page.wait_for_selector(".card img")
        assert _width(page) <= 360
        page.locator(".card .picture").first.tap()
        page.wait_for_selector('.view[data-view="depth"] img')
        dialog = page.locator("#details").bounding_box()
        assert dialog["x"] >= 0
        assert dialog["x"] + dialog["width"] <= 360
        assert _width(page) <= 360
        page.keyboard.press("Escape")
        page.set_viewport_size({"width": 390, "height": 844})
        page.tap("#open-painting")
        page.wait_for_selector(".brush")
        stroke(page, "#map", (0.3, 0.5), (0.6, 0.5))
        page.wait_for_selector(".asking .card")
        card = page.locator(".card .picture").first.bounding_box()
        assert card["y"] + card["height"] < 844
        sheet = page.locator("#map").bounding_box()
        assert sheet["y"] >= 0
        assert sheet["height"] < 0.5 * 844


def test_what_is_wrong_with_a_file_is_one_sentence(browser: Any, everything: str) -> None:
    opened = browser.new_context()
    page = opened.new_page()
    page.goto(f"{everything}/#c=rooms")
    page.wait_for_selector("#state.ready")
    page.wait_for_selector(".card")
    give(page, "drop", "m.json", b'{"sharpness": 3}', "application/json")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error").startswith("m.json: 'sharpness' is not a field of metadata")
    page.click(".cross")
    page.wait_for_selector("#error", state="hidden")
    give(
        page, "drop", "p.json", b'{"version": 1.3, "people": [{"pose_keypoints_2d": [1, 2, 0.9]}]}', "application/json"
    )
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error").startswith("p.json holds key points as COCO or OpenPose write them")
    opened.close()


def test_what_the_model_does_not_take_is_told_before_it_isasked(visiting: Visiting, site: str) -> None:
    with Client(site) as client:
        client.create_collection("maps")
        files = {"rgb": FOLDER / "rgb" / f"{ROOM}.jpg", "depth": FOLDER / "depth" / f"{ROOM}.png"}
        client.put_item("maps", "one", dict(files))
    with visiting(f"{site}/#c=maps") as page:
        page.wait_for_selector("#state.ready")
        page.wait_for_selector(".card")
        give(page, "drop", "b.json", b'[{"box": [0, 0, 1, 1], "label": "chair"}]', "application/json")
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error") == "b.json looks like boxes, which hashing does not take."
        _open(page, "one")
        page.wait_for_selector('.view[data-view="depth"] img')
        page.click('.view[data-view="depth"]')
        assert page.is_disabled("#details .primary")
        assert page.inner_text("#details .note") == "hashing takes no depth map as a query."
    with Client(site) as client:
        client.delete_collection("maps")


def test_a_view_is_searched_with_by_keyboard_alone(rooms: Page) -> None:
    rooms.focus(f'.card[data-key="{ROOM}"] .picture')
    rooms.keyboard.press("Enter")
    rooms.wait_for_selector('.view[data-view="normal"] img')
    for _ in range(5):  # from the button back over colours, metadata, boxes, segments to normals
        rooms.keyboard.press("Shift+Tab")
    rooms.keyboard.press("Space")
    assert rooms.get_attribute('.view[data-view="normal"]', "aria-pressed") == "true"
    for _ in range(5):
        rooms.keyboard.press("Tab")
    assert rooms.evaluate("document.activeElement.textContent") == "Search with its surface normals"
    rooms.keyboard.press("Enter")
    rooms.wait_for_selector('.chip[data-kind="normal"]')
    rooms.wait_for_selector(".asking .card")


@pytest.mark.slow
def test_what_the_model_predicts_of_query_and_item_is_shown_side_by_side(rooms: Page) -> None:
    rooms.fill("#words", "a room")
    rooms.keyboard.press("Enter")
    rooms.wait_for_selector(".asking .card")
    settled(rooms)
    _open(rooms)
    rooms.click("#why summary")
    rooms.click("#compare", timeout=60_000)
    rooms.wait_for_selector(".compared table", timeout=300_000)
    assert rooms.locator(".compared th").all_inner_texts()[:2] == ["Query", "This"]
    assert rooms.locator(".compared tr:has-text('depth map') img").count() == 2
