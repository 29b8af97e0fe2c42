"""What is unchanged is neither read nor embedded, and nothing that changed is taken for unchanged."""

import os
from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer import paths
from anyseek.indexer.indexing import IndexRun, open_job
from anyseek.indexer.runs import Owner, SilentProgress, Tools
from anyseek.indexer.sources import folder
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import collections
from tests.indexer.harness import NAME, check_agreement, held, index, numbers
from tests.indexer.pictures import folder_of, png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(4))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as written long ago."""
    monkeypatch.setattr(paths, "SETTLED_NS", -(10**15))


def read_again(tools: Tools, photos: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The pictures that indexing again reads."""
    read: set[str] = set()
    read_file = folder.read_file

    def reading(path: Path, *others: Any) -> bytes:
        read.add(path.name)
        return read_file(path, *others)

    with monkeypatch.context() as patched:
        patched.setattr(folder, "read_file", reading)
        index(tools, photos)
    return {name for name in read if name.endswith(".png")}


def test_unchanged_files_are_not_read(
    tools: Tools, photos: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(tools, photos)
    assert read_again(tools, photos, monkeypatch) == set()
    assert numbers(index(tools, photos)) == (0, 4, 0, 0)
    check_agreement(tools)


def test_the_model_is_not_loaded_for_unchanged_files(tools: Tools, photos: Path) -> None:
    """Neither where they are read, because they have just been written, nor where they need not be."""
    index(tools, photos)
    for _ in range(2):
        source = open_source(tools.settings, photos)
        with tools.database.read() as session:
            collection = collections.get(session, NAME)
        with Owner(tools.database, tools.settings) as owner:
            job = open_job(collection, source, owner, prune=True)
            run = IndexRun(lambda: pytest.fail("the model was loaded"), source, owner, SilentProgress())
            assert numbers(run.run(job)) == (0, 4, 0, 0)


def test_what_has_just_been_written_is_read_again(tools: Tools, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "SETTLED_NS", 10**15)
    index(tools, photos)
    assert len(read_again(tools, photos, monkeypatch)) == 4
    monkeypatch.setattr(paths, "SETTLED_NS", -(10**15))
    assert len(read_again(tools, photos, monkeypatch)) == 4
    assert read_again(tools, photos, monkeypatch) == set()


def test_changes_that_keep_size_and_time_are_seen(
    tools: Tools, photos: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photos / "1.png"
    before, data = path.stat(), path.read_bytes()
    index(tools, photos)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_again(tools, photos, monkeypatch) == {"1.png"}


def test_what_is_said_of_a_picture_counts(tools: Tools, photos: Path, settled: None) -> None:
    index(tools, photos)
    (photos / "2.json").write_text('{"attributes": {"year": 1987}}')
    assert numbers(index(tools, photos)) == (1, 3, 0, 0)
    assert held(tools)["2.png"].attributes["year"] == 1987
    (photos / "2.json").unlink()
    assert numbers(index(tools, photos)) == (1, 3, 0, 0)
    assert "year" not in held(tools)["2.png"].attributes


def test_further_files_count(tools: Tools, photos: Path, settled: None) -> None:
    maps = photos / "maps"
    maps.mkdir()
    (maps / "sketch.png").write_bytes(png(8))
    (photos / "0.json").write_text('{"modalities": {"canny_edge": "maps/sketch.png"}}')
    index(tools, photos)
    (maps / "sketch.png").write_bytes(png(9))
    assert numbers(index(tools, photos)) == (1, 3, 0, 0)
