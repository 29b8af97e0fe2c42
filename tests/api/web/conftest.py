"""A real Chromium before a real service. Without Chromium every test here is skipped."""

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anyseek import Client
from tests.api.web import chromium
from tests.api.web.views import Give, Page, Picture, Until, Visiting

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    chromium.require()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, picture: Picture) -> Iterator[str]:
    """A running `anyseek serve` with a collection of pictures and one of words."""
    home = tmp_path_factory.mktemp("site")
    environment = os.environ | {"ANYSEEK_HOME": str(home), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(_SERVE, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
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


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
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


def _until(page: Page, condition: str) -> None:
    """Wait for a condition in JavaScript; the page's policy forbids Playwright's own way of it."""
    deadline = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


@pytest.fixture
def until() -> Until:
    return _until


def _give(page: Page, kind: str, name: str, data: bytes, media_type: str = "image/png") -> None:
    page.evaluate(_GIVE, [kind, name, media_type, base64.b64encode(data).decode()])


@pytest.fixture
def give() -> Give:
    """Drops a file on a page or pastes it there."""
    return _give
