"""Fetching npm packages, with an `npm` of our own that packs files from here."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.sources.emoji import npm_json

PACKAGE = "@scope/icons@1.0.0"


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the command `npm`, which copies `packed.tgz` and counts its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with tarfile.open(folder / "packed.tgz", "w:gz") as archive:
        for name, value in (("package/icons.json", {"a": 1}), ("package/en/data.json", [2]), ("package/x.txt", "")):
            member = tarfile.TarInfo(name)
            data = json.dumps(value).encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (folder / "npm").write_text(f"#!/bin/sh\necho call >> {folder}/calls\n/bin/cp {folder}/packed.tgz icons.tgz\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_files_are_read_and_the_package_is_fetched_once(npm, tmp_path):
    for _ in range(2):
        found = npm_json(PACKAGE, ("icons.json", "en/data.json"), tmp_path / "downloads")
        assert found == {"icons.json": {"a": 1}, "en/data.json": [2]}
    assert (npm / "calls").read_text() == "call\n"


def test_a_missing_file_and_a_broken_package_are_refused(npm, tmp_path):
    with pytest.raises(SourceUnavailable, match=r"@scope/icons@1\.0\.0 has no file other\.json"):
        npm_json(PACKAGE, ("icons.json", "other.json"), tmp_path)
    next(tmp_path.rglob("icons.tgz")).write_bytes(b"words")
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        npm_json(PACKAGE, ("icons.json",), tmp_path)


def test_npm_that_fails_or_is_not_there_leaves_nothing(npm, tmp_path, monkeypatch):
    (npm / "npm").write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    with pytest.raises(SourceUnavailable, match="no such package"):
        npm_json(PACKAGE, ("icons.json",), tmp_path / "downloads")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(SourceUnavailable, match="npm is needed"):
        npm_json(PACKAGE, ("icons.json",), tmp_path / "downloads")
    assert not list((tmp_path / "downloads" / "npm").iterdir())
