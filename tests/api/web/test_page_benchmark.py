"""The benchmark of the page counts what it should; it stands here because it needs a page to measure."""

from typing import Any

import pytest

from benchmarks.page import measure
from tests.api.web import chromium

chromium.require()

pytestmark = pytest.mark.browser


def test_each_stroke_is_timed_and_what_is_loaded_is_counted(browser: Any, site: str) -> None:
    page = browser.new_page()
    report = measure(page, site, "shapes", 2)
    page.close()
    assert report["strokes"] == 2
    assert 0 < report["median_ms"] <= report["longest_ms"]
    assert 20_000 < report["first_paint_bytes"] < 100_000
