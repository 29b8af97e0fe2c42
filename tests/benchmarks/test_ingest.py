"""The benchmark runs and counts what it should; how fast anything is, is not a test's matter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anyseek.indexer.photo_metadata.reading import read_metadata
from anyseek.indexer.samples import RawFile
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.settings import Settings, Work
from benchmarks.ingest import moving
from benchmarks.ingest.memory import peaks
from benchmarks.ingest.metadata import compare, make_photos_of_cameras
from benchmarks.ingest.rates import bare_loop, indexer, make_photos, make_tiny

ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--json", "--large", "2", "--small", "3", "--rounds", "1", "--memory", ""]


def test_no_two_files_are_equal(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 40, (64, 48))
    assert len({path.read_bytes() for path in photos}) == 40
    make_tiny(tmp_path / "tiny", 1_200)
    tiny = sorted((tmp_path / "tiny").rglob("*.png"))
    assert len({path.read_bytes() for path in tiny}) == 1_200
    assert {path.parent.name for path in tiny} == {"0000", "0001"}


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


def test_photos_with_metadata_are_compared_with_those_without(tmp_path: Path) -> None:
    photos = make_photos_of_cameras(tmp_path / "photos", 3, (64, 48))
    told = compare(photos, HashingEmbedder(), Work(), 1)
    assert told["photos"] == 3
    assert told["seconds"].keys() == {"with", "without"}
    settings = Settings(tmp_path)
    places = [
        read_metadata([RawFile("rgb", path.read_bytes(), path.name)], settings).attributes["place"] for path in photos
    ]
    assert len({place["lat"] for place in places}) == 3


@pytest.mark.slow
def test_memory_is_told_of_the_process_that_indexes(tmp_path: Path) -> None:
    ballast = bytearray(b"x") * (1 << 29)
    told = peaks(70)
    assert told["files"] == 70
    assert 20 < told["working_mb"] <= told["peak_mb"] < len(ballast) >> 20


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


def test_a_library_that_moves_is_measured(tmp_path: Path) -> None:
    steps = moving.measure(tmp_path, 4)["steps"]
    assert {name: (step["indexed"], step["unchanged"]) for name, step in steps.items()} == {
        "new": (4, 0),
        "unchanged": (0, 4),
        "renamed folder": (0, 4),
        "copied, old one deleted": (0, 4),
        "unchanged, just copied": (0, 4),
        "half of the files in a new folder": (2, 0),
    }
