"""`anyseek verify` and `rebuild` as commands, on a data directory that is damaged on purpose."""

import json
from pathlib import Path

import pytest

from anyseek import Client
from anyseek.api.cli import run
from anyseek.indexer.put import put_item
from anyseek.indexer.samples import RawFile
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import picture

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with one item and a snapshot."""
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path))
    with Client(tmp_path, model="hashing") as client:
        client.create_collection("shapes")
    with Runtime.open(Settings(tmp_path), "hashing") as runtime:
        put_item(runtime.context(), "shapes", "red disc", [RawFile("rgb", picture("red", "disc"), "red.png")])
        runtime.engine.write_snapshots("shapes")
    return tmp_path


def test_a_consistent_directory_exits_with_0(home: Path, capsys: Shown) -> None:
    assert run(["verify"]) == 0
    assert capsys.readouterr().out == "everything agrees\n"
    assert run(["verify", "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_a_damaged_snapshot_is_found_and_mended(home: Path, capsys: Shown) -> None:
    damaged = [path for path in (home / "indexes").rglob("*") if path.is_file()]
    assert damaged
    for path in damaged:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 255]))
    assert run(["verify", "--json"]) == 1
    problems = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {problem["collection"] for problem in problems} == {"shapes"}
    assert all(problem["problem"] for problem in problems)
    assert run(["rebuild", "shapes"]) == 0
    assert run(["verify"]) == 0


def _stored(home: Path, start: bytes) -> Path:
    """The stored file that begins so."""
    files = [path for path in (home / "assets").rglob("*") if path.is_file()]
    (found,) = [path for path in files if path.read_bytes().startswith(start)]
    return found


def test_a_damaged_thumbnail_is_made_again_from_the_original(home: Path, capsys: Shown) -> None:
    _stored(home, b"\xff\xd8").write_bytes(b"something else")
    assert run(["verify"]) == 1
    assert "red disc" in capsys.readouterr().out
    assert run(["rebuild"]) == 0
    assert run(["verify"]) == 0


def test_a_damaged_original_is_reported_as_lost(home: Path, capsys: Shown) -> None:
    _stored(home, b"\x89PNG").write_bytes(b"something else")
    assert run(["verify"]) == 1
    assert run(["rebuild"]) == 1
    assert "put or index it again" in capsys.readouterr().err


def test_originals_that_are_gone_are_notes_and_the_first_ten_are_shown(
    home: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Shown
) -> None:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(picture("blue", "box"))
    assert run(["index", str(folder), "--collection", "photos", "--model", "hashing"]) == 0
    for file in folder.iterdir():
        file.unlink()
    capsys.readouterr()
    assert run(["verify"]) == 0
    notes = capsys.readouterr().out.splitlines()
    assert "note: photos: the original of item '00.png' is gone" in notes[0]
    more = "note: and 2 more like these; --json lists them all"
    assert notes[10:] == [more, "12 originals gone; everything else agrees"]
    assert run(["verify", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12


def test_changed_originals_are_detected_by_size_or_content(
    home: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Shown
) -> None:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        (folder / f"{number:02}.png").write_bytes(picture("blue", "box"))
    assert run(["index", str(folder), "--collection", "photos", "--model", "hashing"]) == 0
    (folder / "00.png").write_bytes(b"longer or shorter")
    data = (folder / "01.png").read_bytes()
    (folder / "01.png").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    capsys.readouterr()
    assert run(["verify"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 original changed; everything else agrees"
    assert run(["verify", "--originals"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "the original of item '01.png' has changed" in lines[1]
    assert lines[-1] == "2 originals changed; everything else agrees"
