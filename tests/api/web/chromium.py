"""Whether there is a browser to test the page with."""

import importlib.util
import os
import shutil

import pytest


def require() -> None:
    """Skip the calling module without Chromium or Playwright; fail it where ANYSEEK_REQUIRE_BROWSER is set."""
    if shutil.which("chromium") and importlib.util.find_spec("playwright"):
        return
    reason = "no Chromium, or no Playwright to drive it: the page is not tested"
    if os.environ.get("ANYSEEK_REQUIRE_BROWSER"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
