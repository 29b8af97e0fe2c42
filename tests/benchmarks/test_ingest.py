"""The benchmark runs and counts what it should; how fast anything is, is not a test's matter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.settings import Settings, Work
from benchmarks.ingest.rates import bare_loop, indexer, make_photos

ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--json", "--large", "2", "--small", "3", "--rounds", "1"]


def test_no_two_files_are_equal(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 40, (64, 48))
    assert len({path.read_bytes() for path in photos}) == 40


def test_the_bare_loop_embeds_what_the_indexer_does(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 20, (64, 48))
    seen: list[int] = []

    class Counting(HashingEmbedder):
        def embed_gallery(self, samples, spaces):  # type: ignore[no-untyped-def]
            seen.append(len(samples))
            return super().embed_gallery(samples, spaces)

    work = Work(inputs_per_batch=8)
    assert bare_loop(photos, Counting(), work)().rate > 0
    assert seen == [8, 8, 4]
    assert indexer(photos, Counting(), Settings(tmp_path, work=work))().rate > 0
    assert seen[3:] == [8, 8, 4]


@pytest.mark.slow
def test_the_command_prints_every_case() -> None:
    command = [sys.executable, "-m", "benchmarks.ingest", *ARGUMENTS, "--beside", "hashing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(done.stdout)
    assert [(case["files"], case["model"], case["threads"]) for case in report["cases"]] == [
        ("large", "hashing", 1),
        ("large", "hashing", 2),
        ("small", "hashing", 2),
        ("small", "4m-tiny", 2),
    ]
    for case in report["cases"]:
        beside = ["indexer, hashing"] if case["model"] == "4m-tiny" else []
        assert "left_out" in case or list(case["ways"]) == ["bare loop", "indexer", *beside]
    assert report["cases"][0]["ways"]["bare loop"]["of_bare_loop"] == 1
