"""What preparing an input costs: how often its file is read and hashed, and what waits for what."""

import hashlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from anyseek.indexer import paths, samples
from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.runs import IndexerContext, NoProgress, Owner
from anyseek.indexer.source_inputs import STORING_THREADS, IndexingStrategy, PreparedInput, Unchanged
from anyseek.indexer.sources import folder
from anyseek.indexer.sources.folder import FolderSource
from anyseek.indexer.sources.opening import open_source
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.ledger import UNCHANGED, Lease
from anyseek.search.settings import Settings, Work
from anyseek.search.types import Asset
from tests.indexer.harness import NAME, check_agreement, held, index, installation, job_for, numbers
from tests.indexer.pictures import folder_of, png, write

PATIENCE = 30.0
BATCH = 8


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(3 * BATCH), "{:02}.png")


@pytest.fixture
def context(tmp_path: Path) -> Any:
    with installation(tmp_path, settings=Settings(tmp_path / "home", work=Work(inputs_per_batch=BATCH))) as context:
        yield context


def inputs_of(
    context: IndexerContext, photos: Path, store: FolderAssetStore, decoding_threads: int = 1
) -> IndexingStrategy:
    work = replace(context.settings.work, decoding_threads=decoding_threads)
    changed = replace(context, assets=store, settings=replace(context.settings, work=work))
    source = FolderSource(photos, context.settings.limits)
    return IndexingStrategy(
        changed, lambda: changed, ensure_collection(context, NAME), source, job_for(context, photos)
    )


def lease(number: int) -> Lease:
    return Lease(number, f"{number:02}.png", f"{number:02}.png", 1, 1)


def test_a_file_is_read_once_and_hashed_once(
    context: IndexerContext, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    hashed: list[bytes] = []
    read_file, sha256 = folder.read_file, hashlib.sha256

    def reading(path: Path, *others: Any) -> bytes:
        read.append(path.name)
        return read_file(path, *others)

    def hashing(data: bytes = b"", **options: Any) -> Any:
        hashed.append(data)
        return sha256(data, **options)

    monkeypatch.setattr(folder, "read_file", reading)
    monkeypatch.setattr(samples.hashlib, "sha256", hashing)
    assert numbers(index(context, photos)) == (3 * BATCH, 0, 0, 0)
    monkeypatch.undo()
    files = sorted(photos.iterdir())
    assert sorted(read) == [path.name for path in files]
    assert [hashed.count(path.read_bytes()) for path in files] == [1] * len(files)
    item = held(context)["00.png"]
    assert item.assets["rgb"].sha256 == hashlib.sha256(files[0].read_bytes()).hexdigest()


def test_inputs_are_decoded_while_others_are_stored(context: IndexerContext, photos: Path, tmp_path: Path) -> None:
    together = threading.Barrier(STORING_THREADS, timeout=PATIENCE)

    class Slow(FolderAssetStore):
        """A put ends only when as many wait as there are threads for it."""

        def put(self, name: str, data: bytes, media_type: str) -> Asset:
            together.wait()
            return super().put(name, data, media_type)

    preparing = inputs_of(context, photos, Slow(tmp_path / "assets"))
    outcomes: list[object] = []
    threads = [
        threading.Thread(target=lambda number=number: outcomes.append(preparing.prepare(lease(number), {})))
        for number in range(STORING_THREADS)
    ]
    assert preparing.threads > len(threads), "the pool has room for one that decodes beside those that store"
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [type(outcome) for outcome in outcomes] == [PreparedInput] * STORING_THREADS


def test_no_more_inputs_are_decoded_at_once_than_asked_for(
    context: IndexerContext, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, lock = 0, 0, threading.Lock()
    decode_all = samples.decode_all

    def counted(*arguments: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            threading.Event().wait(0.01)
            return decode_all(*arguments)
        finally:
            with lock:
                under_way -= 1

    monkeypatch.setattr("anyseek.indexer.source_inputs.decode_all", counted)
    preparing = inputs_of(context, photos, FolderAssetStore(tmp_path / "assets"), decoding_threads=2)
    threads = [threading.Thread(target=preparing.prepare, args=(lease(number), {})) for number in range(3 * BATCH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert most == 2


def test_an_unchanged_input_is_not_decoded(
    context: IndexerContext, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparing = inputs_of(context, photos, FolderAssetStore(tmp_path / "assets"))
    made = preparing.prepare(lease(0), {})
    assert isinstance(made, PreparedInput)
    assert np.asarray(made.sample.values["rgb"]).shape == (16, 24, 3)
    monkeypatch.setattr("anyseek.indexer.source_inputs.decode_all", lambda *_: pytest.fail("it was decoded"))
    assert preparing.prepare(lease(0), {"00.png": (made.item.content_hash, 1)}) == Unchanged(lease(0), UNCHANGED)


def test_a_batch_takes_two_transactions(context: IndexerContext, photos: Path) -> None:
    """One leases it and one writes it, however many inputs it has."""
    statements: list[str] = []
    committed: list[list[str]] = []
    event.listen(context.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def commit(_: object) -> None:
        committed.append(statements.copy())
        statements.clear()

    event.listen(context.database.engine, "commit", commit)
    assert numbers(index(context, photos)) == (3 * BATCH, 0, 0, 0)
    of_ledger = [said for said in committed if any(one.startswith("UPDATE ledger") for one in said)]
    written = [said for said in of_ledger if any(one.startswith("INSERT INTO log") for one in said)]
    leased = [said for said in of_ledger if any("lease_expires=" in one.split("WHERE")[0] for one in said)]
    assert (len(written), len(leased)) == (3, 3)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(4))


def settle(monkeypatch: pytest.MonkeyPatch, is_settled: bool) -> None:
    """Have files count as written long ago, or just now."""
    monkeypatch.setattr(paths, "SETTLED_NS", -(10**15) if is_settled else 10**15)


def read_again(context: IndexerContext, library: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The pictures that indexing again reads."""
    read: set[str] = set()
    read_file = folder.read_file

    def reading(path: Path, *others: Any) -> bytes:
        read.add(path.name)
        return read_file(path, *others)

    with monkeypatch.context() as patched:
        patched.setattr(folder, "read_file", reading)
        index(context, library)
    return {name for name in read if name.endswith(".png")}


def test_only_what_has_changed_is_read(context: IndexerContext, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch, True)
    sketch = write(library / "maps", {"sketch.png": 8}) / "sketch.png"
    write(library, {"0.json": {"modalities": {"canny_edge": "maps/sketch.png"}}})
    index(context, library)
    assert read_again(context, library, monkeypatch) == set()
    assert numbers(index(context, library)) == (0, 4, 0, 0)
    path = library / "1.png"
    before, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_again(context, library, monkeypatch) == {"1.png"}, "of the same size and time"
    write(library, {"1.png": data, "2.json": {"attributes": {"year": 1987}}})
    assert numbers(index(context, library)) == (2, 2, 0, 0)
    assert held(context)["2.png"].attributes["year"] == 1987
    (library / "2.json").unlink()
    assert numbers(index(context, library)) == (1, 3, 0, 0)
    assert "year" not in held(context)["2.png"].attributes
    sketch.write_bytes(png(9))
    assert numbers(index(context, library)) == (1, 3, 0, 0)
    check_agreement(context)


def test_the_model_is_not_loaded_for_unchanged_files(context: IndexerContext, library: Path) -> None:
    """Neither where they are read, because they have just been written, nor where they need not be."""
    index(context, library)
    for _ in range(2):
        source = open_source(context.settings, library)
        with context.database.read() as session:
            collection = collections.get(session, NAME)
        with Owner(context.database, context.settings) as owner:
            job = open_job(collection, source, owner, prune=True)
            run = IndexRun(lambda: pytest.fail("the model was loaded"), source, owner, NoProgress())
            assert numbers(run.run(job)) == (0, 4, 0, 0)


def test_what_has_just_been_written_is_read_again(
    context: IndexerContext, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, False)
    index(context, library)
    assert len(read_again(context, library, monkeypatch)) == 4
    settle(monkeypatch, True)
    assert len(read_again(context, library, monkeypatch)) == 4
    assert read_again(context, library, monkeypatch) == set()
