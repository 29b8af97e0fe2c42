"""Whatever stops a service waits for longer than it may take."""

import re
from pathlib import Path

import pytest

from anyseek.api.http.shutdown import GRACE_SECONDS, STOP_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("compose.yaml", r"command: \[serve, .*\n +stop_grace_period: (\d+)s"),
        ("deploy/systemd/anyseek.service", r"TimeoutStopSec=(\d+)"),
        ("deploy/kubernetes/6-api.yaml", r"terminationGracePeriodSeconds: (\d+)"),
    ],
)
def test_the_files_wait_long_enough(file: str, setting: str) -> None:
    found = re.search(setting, (ROOT / file).read_text(encoding="utf-8"))
    assert found
    assert int(found[1]) > STOP_SECONDS


def test_the_document_has_the_same_numbers() -> None:
    section = (ROOT / "docs/operating.md").read_text(encoding="utf-8").partition("## Stopping")[2].partition("\n## ")[0]
    assert f"have {GRACE_SECONDS} seconds" in section
    assert f"after {STOP_SECONDS:g} seconds" in section
