"""One thread a process: tests run beside each other, and sums come out in the same order everywhere.

No example has a deadline: what a slow machine does in a second is no failure.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may enter, as none may what is below pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def s3() -> Iterator[Callable[[str, Mapping[str, bytes]], str]]:
    """Makes a bucket of an S3 server with files in it, and returns its address."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    from tests.indexer.sources_kit import s3_server

    with s3_server() as bucket:
        yield bucket


@pytest.fixture
def memory_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets settings name the object storage `memory://`, which loses everything when the process ends."""
    from anyseek.search import settings as of_installation

    monkeypatch.setattr(of_installation, "_STORES", (*of_installation._STORES, "memory://"))


def pytest_configure() -> None:
    """Refuse what would have two processes empty one database under each other."""
    if os.environ.get("ANYSEEK_TEST_POSTGRES") and os.environ.get("PYTEST_XDIST_WORKER"):
        raise pytest.UsageError("tests on the servers of `make services` run in one process: use `make test-services`")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests each reason left out, a line a reason."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    for reason, tests in reasons.most_common():
        terminalreporter.write_line(f"{tests:>5} skipped: {reason}")
