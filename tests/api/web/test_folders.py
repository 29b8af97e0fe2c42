"""Browsing by folder: tiles, the way back up, links, and searching inside a folder."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import picture, serving
from tests.api.web.views import Page, Visiting, keys, until

KEYS = {
    "2023/beach.jpg": "red disc",
    "2024/05 rome/a.jpg": "blue bar",
    "2024/05 rome/b & c.jpg": "red disc",
    "2024/home.jpg": "green box",
    "top.jpg": "green disc",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a collection whose keys are paths, and one whose are not."""
    home = tmp_path_factory.mktemp("library")
    with serving(home) as (client, _):
        client.create_collection("library")
        for key, shown in KEYS.items():
            client.put_item("library", key, {"rgb": picture(*shown.split())}, f"a {shown}")
        client.create_collection("plain")
        client.put_item("plain", "one", {"rgb": picture("red", "bar")}, "a red bar")
        yield client.url


@pytest.fixture
def browsed(visiting: Visiting, library: str) -> Iterator[Page]:
    with visiting(f"{library}/#c=library") as page:
        page.wait_for_selector(".card img")
        page.click("#open-folders")
        page.wait_for_selector(".folder-tile")
        yield page


def _tiles(page: Page) -> list[str]:
    return [text.replace("\n", " ") for text in page.locator(".folder-tile").all_inner_texts()]


def _here(page: Page) -> list[str]:
    return page.locator(".folder-path li").all_inner_texts()


def test_folders_have_counts_and_covers_and_one_goes_down_and_up_again(browsed: Page) -> None:
    assert _tiles(browsed) == ["2023 1", "2024 3"]
    assert keys(browsed) == ["top.jpg"]
    assert browsed.inner_text("#summary") == "2 folders, 1 item"
    until(browsed, "[...document.querySelectorAll('.cover img')].every((image) => image.naturalWidth > 0)")
    browsed.click("[data-folder='2024/']")
    browsed.wait_for_selector("[data-folder='2024/05 rome/']")
    assert keys(browsed) == ["2024/home.jpg"]
    browsed.click("[data-folder='2024/05 rome/']")
    browsed.wait_for_selector(".card[data-key='2024/05 rome/a.jpg']")
    assert keys(browsed) == ["2024/05 rome/a.jpg", "2024/05 rome/b & c.jpg"]
    assert _here(browsed) == ["library", "2024", "05 rome"]
    assert browsed.get_attribute(".folder-path li:last-child a", "aria-current") == "page"
    browsed.click(".folder-path a:text-is('library')")
    browsed.wait_for_selector("[data-folder='2023/']")
    browsed.click("#open-folders")
    browsed.wait_for_selector("#summary:text-is('All of library')")
    assert browsed.is_hidden("#folders")
    assert browsed.is_hidden("#folder-path")
    assert len(keys(browsed)) == len(KEYS)


def test_a_folder_has_an_address_and_is_there_after_back_and_after_an_item(browsed: Page, visiting: Visiting) -> None:
    browsed.click("[data-folder='2024/']")
    browsed.wait_for_selector("[data-folder='2024/05 rome/']")
    browsed.click("[data-folder='2024/05 rome/']")
    browsed.wait_for_selector(".card[data-key='2024/05 rome/a.jpg']")
    with visiting(browsed.url) as other:
        other.wait_for_selector(".card[data-key='2024/05 rome/a.jpg']")
        assert _here(other) == ["library", "2024", "05 rome"]
    browsed.go_back()
    browsed.wait_for_selector(".card[data-key='2024/home.jpg']")
    assert _here(browsed) == ["library", "2024"]
    browsed.click(".card[data-key='2024/home.jpg'] .picture")
    browsed.wait_for_selector("#details[open]")
    browsed.keyboard.press("Escape")
    browsed.wait_for_selector("#details:not([open])", state="attached")
    assert keys(browsed) == ["2024/home.jpg"]


def test_words_search_in_the_folder_and_below(browsed: Page) -> None:
    browsed.click("[data-folder='2024/']")
    browsed.wait_for_selector("[data-folder='2024/05 rome/']")
    browsed.fill("#words", "a red disc")
    browsed.keyboard.press("Enter")
    browsed.wait_for_selector(".asking .card:first-child[data-key='2024/05 rome/b & c.jpg']")
    assert sorted(keys(browsed)) == [key for key in sorted(KEYS) if key.startswith("2024/")]
    browsed.click(".folder-path a:text-is('library')")
    browsed.wait_for_selector("#summary:has-text('5 results')")


def test_a_collection_without_folders_and_a_folder_that_is_not_there(visiting: Visiting, library: str) -> None:
    with visiting(f"{library}/#c=plain&in=") as page:
        page.wait_for_selector(".card[data-key='one']")
        assert page.is_hidden("#folders")
        page.evaluate("location.hash = '#c=library&in=none'")
        page.wait_for_selector("text=There is nothing in this folder")
        page.select_option("#collection", "plain")
        page.wait_for_selector("#summary:text-is('All of plain')")


def test_on_a_phone_tiles_stand_beside_each_other(visiting: Visiting, library: str) -> None:
    with visiting(f"{library}/#c=library&in=", viewport={"width": 360, "height": 740}, has_touch=True) as page:
        page.wait_for_selector(".folder-tile img")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        first, second = (page.locator(".folder-tile").nth(number).bounding_box() for number in (0, 1))
        assert first["y"] == second["y"]
        page.locator(".folder-tile a").nth(1).tap()
        page.wait_for_selector("[data-folder='2024/05 rome/']")
