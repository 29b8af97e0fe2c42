"""Putting pictures into a collection from the page: files, and folders of the service's machine."""

from pathlib import Path
from typing import Any

from anyseek import Client
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import ServiceSettings
from anyseek.workers.job_rate import time_left
from tests.api.conftest import StartService, picture
from tests.api.web.views import Visiting


def _file(name: str, data: bytes, media_type: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": media_type, "buffer": data}


def test_the_first_pictures_make_a_collection(browser: Any, start_service: StartService) -> None:
    url, _ = start_service()
    page = browser.new_context().new_page()  # the refusal of the broken picture shows in its console
    page.goto(url)
    page.click("text=Add pictures >> nth=-1")
    page.fill("#adding-name", "mine")
    files = [
        _file("red.png", picture("red", "disc")),
        _file("bad.png", b"no picture"),
        _file("a.txt", b"x", "text/plain"),
    ]
    page.set_input_files("#adding input[type=file] >> nth=0", files)
    page.wait_for_selector("#adding .progress:has-text('1 picture added, 1 set aside')")
    assert "bad.png" in page.inner_text("#adding .failures")
    assert "is not a picture" in page.inner_text("#adding .failures")
    page.click("#adding :text-is('Close')")
    page.wait_for_selector('.card[data-key="red.png"]')
    assert page.inner_text("#count") == "1 item"
    assert "c=mine" in page.url
    page.context.close()


def test_the_page_says_the_time_left_as_the_command_line_does(browser: Any, site: str) -> None:
    page = browser.new_context().new_page()
    page.goto(site)
    seconds = [None, 0, 9.9, 10, 25, 89, 92, 150, 740, 1_799, 1_801, 2_600, 2_850, 5_399, 5_401, 9_000, 216_000, 4e5]
    source = "async (all) => { const { timeLeft } = await import('/web/words.js'); return all.map(timeLeft); }"
    assert page.evaluate(source, seconds) == [time_left(left) for left in seconds]
    older = "async () => (await import('/web/words.js')).timeLeft(undefined)"
    assert page.evaluate(older) == time_left(None), "a service that tells no time left"
    page.context.close()


def test_a_folder_of_the_service_is_indexed_with_its_failures(
    visiting: Visiting, start_service: StartService, tmp_path: Path
) -> None:
    folder = tmp_path / "albums" / "trip"
    folder.mkdir(parents=True)
    (folder / "blue.png").write_bytes(picture("blue", "box"))
    (folder / "bad.png").write_bytes(b"no picture")
    url, _ = start_service(settings=ServiceSettings(roots=(tmp_path / "albums",)))
    with Client(url, patience=30) as client:
        client.create_collection("mine")
    with visiting(url) as page:
        page.wait_for_selector("text=The collection mine is empty")
        page.click("#add-pictures")
        page.click(".folder:has-text('albums')")
        page.click(".folder:text-is('trip')")
        page.wait_for_selector("#adding code:has-text('albums/trip')")
        page.click("#index-folder")
        page.wait_for_selector("#adding .progress:has-text('1 picture added, 1 set aside')")
        page.wait_for_selector("#adding .failures:has-text('bad.png')")  # asked for once the job has ended
        page.keyboard.press("Escape")
        page.wait_for_selector('.card[data-key="blue.png"]')


def test_without_roots_the_page_says_how_to_allow_one(visiting: Visiting, site: str) -> None:
    with visiting(f"{site}/#c=shapes") as page:
        page.click("#add-pictures")
        page.wait_for_selector("#adding :text('ANYSEEK_ROOTS')")


def test_a_key_that_may_only_read_is_told_so(browser: Any, start_service: StartService) -> None:
    url, service = start_service()
    with Client(url, patience=30) as client:
        client.create_collection("mine")
    key = create_key(service.runtime.database, "reader", Scope.READ)
    page = browser.new_context().new_page()
    page.goto(url)
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The collection mine is empty")
    page.click("#add-pictures")
    page.wait_for_selector("#adding .places :text('scope write')")
    page.set_input_files("#adding input[type=file] >> nth=0", [_file("red.png", picture("red", "disc"))])
    page.wait_for_selector("#adding .failures :text('scope write')")
    page.context.close()
