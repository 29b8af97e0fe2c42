"""What was predicted of an item is marked as that, in the item's view and in filters."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from PIL import Image

from anyseek import Client
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.items import change_attributes
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import listening
from tests.api.web import chromium

Page = Any
Visiting = Callable[..., AbstractContextManager[Page]]

chromium.require()

pytestmark = pytest.mark.browser

COLOURS = {"red": (200, 20, 35), "blue": (70, 120, 180)}


def _picture(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a plain red and a plain blue picture; of the red one a model also said what it shows."""
    home = tmp_path_factory.mktemp("told")
    with Runtime.open(Settings(home), "hashing") as runtime, listening(Service(runtime, ServiceSettings())) as url:
        with Client(url, patience=60) as client:
            client.create_collection("told")
            for name, colour in COLOURS.items():
                files = {"rgb": _picture(colour)}
                client.put_item("told", name, files, attributes={"owner": "Ada"}, predict_attributes=True)
        with runtime.database.write() as session:
            held = collections.get(session, "told")
            shown = {"shows": {"value": ["Dalmatian", "dog"], "confidence": 0.873}}
            predicted = items.get(session, held, "red").attributes["predicted"] | shown
            change_attributes(session, held, "red", lambda given: {**given, "predicted": predicted})
        yield url


@pytest.fixture
def visited(visiting: Visiting, told: str) -> Iterator[Page]:
    with visiting(f"{told}/#c=told") as page:
        page.wait_for_selector(".card img")
        yield page


def test_an_item_shows_what_was_predicted_apart_from_what_was_written(visited: Page) -> None:
    visited.click(".card >> nth=1")
    visited.wait_for_selector("#lightbox-title:text-is('red')")
    section = visited.locator(".predicted")
    assert section.locator("h3").inner_text() == "Predicted from the picture"
    rows = dict(zip(section.locator("dt").all_inner_texts(), section.locator("dd").all_inner_texts(), strict=True))
    assert rows["shows"] == "Dalmatian, dog (87% sure)"
    assert rows["colours"] == "red 100%"
    assert set(rows) == {"shows", "brightness", "colourfulness", "colours"}
    written = visited.locator(".about dl").first.inner_text()
    assert "Ada" in written
    assert "Dalmatian" not in written


def test_filters_say_what_is_predicted(visited: Page) -> None:
    visited.click("#open-filters")
    visited.wait_for_selector("legend:text-is('colours (predicted)')")
    legends = set(visited.locator(".facet legend").all_inner_texts())
    assert {"owner", "brightness (predicted)", "shows (predicted)", "shows confidence (predicted)"} <= legends
    assert not any("colour shares" in legend for legend in legends)
    visited.click(".value:has-text('dog')")
    visited.wait_for_selector(".filter:has-text('shows (predicted): dog')")
    visited.wait_for_selector("#summary:has-text('1 item')")
