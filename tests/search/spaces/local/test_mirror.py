"""Snapshots in a bucket: each machine fetches the newest one once, and needs nothing in its data directory."""

import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from anyseek.search import object_storage
from anyseek.search.assets.opening import open_assets
from anyseek.search.backup.read import restore
from anyseek.search.backup.write import backup
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.errors import TargetNotEmpty
from anyseek.search.object_storage import Bucket, StorageUnreachable
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import open_backend
from anyseek.search.spaces.local.mirror import StoredSnapshots
from anyseek.search.upkeep.snapshots import index_lag, write_snapshots
from anyseek.search.upkeep.verify import verify
from tests.search.gallery import Things

pytest.importorskip("fsspec")
KEYS = [f"k{number}" for number in range(70)]


@pytest.fixture
def here(tmp_path: Path, memory_storage: None) -> Settings:
    return Settings(tmp_path / "here", assets_url=f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def there(here: Settings, tmp_path: Path) -> Settings:
    """Another machine of the same installation."""
    return replace(here, home=tmp_path / "there")


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    keys: list[str] = []
    download = Bucket.download

    def noted(self: Bucket, key: str, file: Path) -> None:
        keys.append(key)
        download(self, key, file)

    monkeypatch.setattr(Bucket, "download", noted)
    return keys


def write(things: Things, machine: Settings) -> bool:
    return write_snapshots(things.database, machine, "things", open_backend(things.database, machine).open)


def count(things: Things, machine: Settings) -> int:
    """The vectors of the first space as a process of a machine opens it."""
    live = open_backend(things.database, machine).open(things.head, things.head.spaces[0])
    live.refresh(things.head)
    with live.open_view() as view:
        return view.count()


def stored(machine: Settings) -> list[str]:
    return sorted(key for key in Bucket(machine.bucket).find("indexes") if "/1/1/" in key)


def spoil_log(things: Things) -> None:
    """Now only a snapshot has vectors."""
    with things.database.write() as session:
        session.execute(update(LogRow).values(fingerprint="unreadable by now"))


def test_the_newest_is_fetched_once_by_each_machine(
    things: Things, here: Settings, there: Settings, downloads: list[str]
) -> None:
    things.put(KEYS)
    assert write(things, here)
    spoil_log(things)
    assert downloads == []
    assert [count(things, there) for _ in range(3)] == [70] * 3
    newest = f"indexes/1/1/{things.head.last_seq}-1"
    assert downloads == [f"{newest}/header.json", f"{newest}/index"]
    shutil.rmtree(there.home)
    shutil.rmtree(here.home)
    assert count(things, there) == count(things, here) == 70


def test_two_are_kept_whoever_writes_them(things: Things, here: Settings, there: Settings) -> None:
    for keys, machine in ((KEYS[:3], here), (KEYS[3:6], there), (KEYS[6:9], here)):
        things.put(keys)
        assert write(things, machine)
    ends = [f"{seq}-0/{part}" for seq in (12, 18) for part in ("header.json", "index")]
    assert stored(here) == [f"indexes/1/1/{end}" for end in ends]
    assert verify(things.database, there) == []
    assert index_lag(things.database, open_backend(things.database, there).open).entries == 0
    things.put(["more"])
    assert index_lag(things.database, open_backend(things.database, there).open).entries == 2


def test_one_whose_writer_was_killed_is_not_used_and_written_again(
    things: Things, here: Settings, there: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    things.put(KEYS[:3])
    upload = Bucket.upload
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "upload", lambda self, key, file: None if "header" in key else upload(self, key, file))
        write(things, here)
    assert stored(here) == ["indexes/1/1/6-0/index"]
    assert count(things, there) == 3
    write(things, here)
    assert stored(here) == ["indexes/1/1/6-0/header.json", "indexes/1/1/6-0/index"]


def test_a_damaged_one_is_not_used(things: Things, here: Settings, there: Settings) -> None:
    things.put(KEYS[:3])
    write(things, here)
    Bucket(here.bucket).write("indexes/1/1/6-0/index", b"other bytes")
    assert count(things, there) == 3


def test_without_the_bucket_indexes_are_read_from_the_log_and_not_written(
    things: Things, here: Settings, there: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    things.put(KEYS[:3])
    write(things, here)
    backend = open_backend(things.database, here)

    def fail(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(object_storage, "PAUSES", ())
    for name in ("find", "info", "cat_file", "get_file", "put_file"):
        monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{name}", fail)
    assert count(things, there) == 3
    things.put(KEYS[3:6])
    with pytest.raises(StorageUnreachable):
        write(things, there)
    assert index_lag(things.database, backend.open).entries == things.head.last_seq, "nothing is known to be stored"


def test_those_of_collections_that_are_gone_are_removed(things: Things, here: Settings) -> None:
    things.put(KEYS[:3])
    write(things, here)
    assert StoredSnapshots(here.bucket).space_ids() == {(1, 1), (1, 2)}
    backend = open_backend(things.database, here)
    backend.remove_unknown()
    assert len(stored(here)) == 2
    with things.database.write() as session:
        collections.delete(session, "things")
    backend.remove_unknown()
    assert Bucket(here.bucket).find("indexes") == {}


def test_a_backup_is_not_restored_beside_those_of_another_installation(
    things: Things, here: Settings, there: Settings, tmp_path: Path
) -> None:
    things.put(KEYS[:3])
    backup(things.database, open_assets(here), tmp_path / "b.tar")
    write(things, here)
    with pytest.raises(TargetNotEmpty, match=f"{there.bucket} holds indexes of another installation"):
        restore(there, tmp_path / "b.tar")
    restore(replace(there, assets_url=f"memory://{uuid.uuid4().hex}"), tmp_path / "b.tar")
