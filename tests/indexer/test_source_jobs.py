"""Whole jobs over sources of every kind: what goes in, what is named, what a killed scan leaves."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.sources import base
from tests.forked import begun, exit_code
from tests.indexer import sources_kit as kit
from tests.indexer.harness import Counting, check_agreement, failures, index, installation, numbers
from tests.indexer.pictures import jpeg, png
from tests.search.gallery import begin_catalogue


@pytest.fixture
def context(tmp_path: Path) -> Iterator[IndexerContext]:
    with installation(tmp_path / "home", settings=kit.settings(tmp_path / "home")) as context:
        yield context


def test_a_bucket_goes_in_without_a_file_on_this_machine(context: IndexerContext, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    files = {**kit.FILES, **kit.sidecars(), "notes.txt": b"words", "deep/er/x.png": png(5), "broken.jpg": jpeg(9)[:200]}
    fsspec.filesystem("memory").pipe({f"/bucket-of-jobs/p/{path}": data for path, data in files.items()})
    job = index(context, "memory://bucket-of-jobs/p")
    assert (numbers(job), job.ignored, job.root) == ((4, 0, 1, 0), 1, "memory://bucket-of-jobs/p")
    assert failures(context, job)["broken.jpg"].code == "broken-picture"
    fsspec.filesystem("memory").rm("/bucket-of-jobs/p/deep", recursive=True)
    assert numbers(index(context, "memory://bucket-of-jobs/p", prune=True)) == (0, 3, 1, 1)
    check_agreement(context)


def test_urls_that_cannot_be_had_are_quarantined(context: IndexerContext, tmp_path: Path) -> None:
    with kit.site() as site:
        site.serve({"a.png": png(1), "page.html": b"<html>", "cut.jpg": jpeg(3)[:200]})
        lines = [site.url + name for name in ("a.png", "gone.png", "page.html", "cut.jpg")]
        urls = kit.write(tmp_path / "u", {"urls.txt": "\n".join([*lines, "http://10.0.0.1/a.png", "x"]).encode()})
        job = index(context, urls / "urls.txt")
    told = {one.key.removeprefix(site.url): one.code for one in failures(context, job).values()}
    assert numbers(job) == (1, 0, 5, 0)
    assert told == {
        "gone.png": "input-vanished",
        "page.html": "not-a-picture",
        "cut.jpg": "broken-picture",
        "http://10.0.0.1/a.png": "address-refused",
        "urls.txt:6": "address-refused",
    }


def test_prune_of_a_table(context: IndexerContext, tmp_path: Path) -> None:
    table = kit.write(tmp_path / "t", {**kit.FILES, "t.csv": b"file\na.png\nb.jpg\nc.png\n"}) / "t.csv"
    assert numbers(index(context, table)) == (3, 0, 0, 0)
    table.write_text("file\na.png\nb.jpg\n../c.png\n")
    assert numbers(index(context, table, prune=True)) == (0, 2, 1, 0), "which item the wrong row was cannot be told"
    table.write_text("file\na.png\nc.png\na.png\n")
    job = index(context, table, prune=True)
    assert numbers(job) == (0, 2, 1, 1)
    assert {one.code for one in failures(context, job).values()} == {"duplicate-key"}


class Killer(Counting):
    """Kills its process in the middle of a scan."""

    def scanned(self, inputs: int) -> None:
        super().scanned(inputs)
        if self.found == 15:
            os.kill(os.getpid(), signal.SIGKILL)


def index_until_killed(home: Path, table: Path) -> None:
    base.PAGE = 5
    with installation(home) as context:
        index(context, table, progress=Killer())


def test_a_killed_scan_is_done_anew(tmp_path: Path) -> None:
    """What the table no longer has by then is not indexed."""
    kit.write(tmp_path / "p", {f"{number:02}.png": png(number) for number in range(20)})
    table = tmp_path / "t.csv"
    rows = [f"p/{number:02}.png\n" for number in range(20)]
    table.write_text("".join(["file\n", *rows]))
    begin_catalogue(tmp_path / "home")
    assert exit_code(begun(index_until_killed, tmp_path / "home", table)) == -signal.SIGKILL
    table.write_text("".join(["file\n", *rows[1:]]))
    with installation(tmp_path / "home") as context:
        assert numbers(index(context, table)) == (19, 0, 0, 0)
        check_agreement(context)
