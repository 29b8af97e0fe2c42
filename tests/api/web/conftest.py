"""A real Chromium before a real service. Without Chromium every test here is skipped."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anyseek import Client
from tests.api.conftest import picture
from tests.api.web import chromium
from tests.api.web.views import Page, Visiting

NAMES = [f"{colour} {shape}" for colour in ("red", "green", "blue") for shape in ("disc", "box", "bar")]


_FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"


_SERVE = [
    sys.executable,
    "-c",
    "from anyseek.api.cli import main; main()",
    "serve",
    "--port",
    "0",
    "--model",
    "hashing",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    chromium.require()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running `anyseek serve` with a collection of pictures and one of words."""
    home = tmp_path_factory.mktemp("site")
    environment = os.environ | {"ANYSEEK_HOME": str(home), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(_SERVE, env=environment, text=True, **pipes) as process:
        try:
            url = process.stdout.readline().split()[-1]
            with Client(url, patience=30) as client:
                client.create_collection("shapes")
                client.create_collection("words")
                for name in NAMES:
                    client.put_item("shapes", name, {"rgb": picture(*name.split())}, f"a {name}", {"kind": "shape"})
                client.put_item("words", "one", caption="no picture at all")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium. Its driver is a running asyncio loop of this thread, beside which no other can run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*_FLAGS.split(), "--no-first-run"]
        )
        yield opened
        opened.close()


@contextmanager
def _visiting(browser: Any, url: str, **context: Any) -> Iterator[Page]:
    """A page of its own; ends with the check that it complained about nothing."""
    opened = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | context)
    page, complaints = opened.new_page(), []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    yield page
    opened.close()
    assert not complaints


@pytest.fixture
def visiting(browser: Any) -> Visiting:
    """Opens an address in a page of its own; ends with the check that it complained about nothing."""
    return partial(_visiting, browser)


@pytest.fixture
def page(visiting: Visiting, site: str) -> Iterator[Page]:
    with visiting(f"{site}/#c=shapes") as page:
        page.wait_for_selector(".card")
        yield page
