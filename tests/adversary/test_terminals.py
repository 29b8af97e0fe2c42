"""Names of files that steer terminals, and that other programs have to get byte by byte."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anyseek.api import cli
from tests.adversary.attacks import ROOT
from tests.indexer.pictures import png

_TITLE, _CLEAR, _RED = "\x1b]0;owned\x07", "\x1b[2J", "\x1b[31m"
_LISTINGS = {
    "jobs list": 0,
    "jobs show 1": 0,
    "jobs failures 1": 0,
    "jobs retry 1": 3,
    "sources list": 0,
    "items list": 0,
    "items list --json": 0,
    "collections show a": 0,
    "query a -k 3": 0,
    "query a -k 3 --paths": 0,
    "query a -k 3 --json": 0,
    "query --item e\x1b[2J.png --explain": 0,
    "query --item none\x1b[2J": 1,
    "duplicates a": 0,
    "duplicates a --paths": 0,
    "audit": 0,
    "verify": 0,
    "items delete none\x1b[2J": 1,
    "nothing\x1b[2J": 2,
}


class _Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", errors="surrogateescape")

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        self.seek(0)
        return self.read()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder that is indexed, of pictures whose names steer a terminal."""
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANYSEEK_MODEL", "hashing")
    folder = tmp_path / f"photos{_TITLE}"
    folder.mkdir()
    for name in (f"e{_CLEAR}.png", f"copy{_CLEAR}.png", "line\nbreak.png"):
        (folder / name).write_bytes(png(1))
    (folder / f"broken{_RED}.png").write_bytes(png(2)[:60])
    assert cli.run(["index", str(folder), "--collection", "a"]) == 3
    assert cli.run(["sources", "list"]) == 0
    capsys.readouterr()
    return folder


@pytest.mark.parametrize(("command", "code"), _LISTINGS.items(), ids=list(map(ascii, _LISTINGS)))
def test_a_listing_steers_no_terminal(folder: Path, command: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = _Terminal(), _Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert cli.run(command.split(" ")) == code, err.shown()
    for sign in (_TITLE, _CLEAR, _RED, "\x07"):
        assert sign not in out.shown() + err.shown()


@pytest.mark.parametrize("command", ["jobs list", "sources list", "items list", "query a --paths", "duplicates a"])
def test_names_are_shown_with_escapes(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = _Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.run(command.split(" ")) == 0
    assert r"photos\x1b]0;owned\x07" in out.shown() or r"e\x1b[2J.png" in out.shown()


def test_paths_for_other_programs_are_the_bytes_of_the_file_system(folder: Path) -> None:
    command = [sys.executable, "-m", "anyseek", "query", "a", "-k", "5", "--paths", "-0"]
    done = subprocess.run(command, capture_output=True, check=True)
    paths = {Path(os.fsdecode(path)) for path in done.stdout.split(b"\0")[:-1]}
    assert paths == {path for path in folder.iterdir() if "broken" not in path.name}


def test_commands_print_in_one_place_alone() -> None:
    printing = [file.name for file in (ROOT / "api").rglob("*.py") if "click.echo" in file.read_text(encoding="utf-8")]
    assert printing == ["output.py"]
