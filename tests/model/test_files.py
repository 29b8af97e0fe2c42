"""Files are there whole or not at all, and a lock is held only while its holder lives."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anyseek.model.files import (
    TEMPORARY_PREFIX,
    FileLock,
    atomic_file,
    atomic_folder,
    file_digest,
    is_locked,
    remove_leftovers,
    temporary_path,
    write_file,
)

HOLD = """
import sys; from pathlib import Path; from anyseek.model.files import FileLock
FileLock(Path(sys.argv[1])).acquire(); print("held", flush=True); sys.stdin.read()
"""


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append(f"{path.name}, {(tmp_path / 'a' / 'b').exists()}")
        fsync(descriptor)

    monkeypatch.setattr("anyseek.model.files.os.fsync", seen)
    write_file(tmp_path / "a" / "b", "é")
    first, second = flushed
    assert first.startswith(TEMPORARY_PREFIX)
    assert first.endswith("False")
    assert second == "a, True"
    assert (tmp_path / "a" / "b").read_bytes() == "é".encode()


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"old")

    def fail() -> None:
        with atomic_file(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anyseek.model.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "a", b"data")
    with pytest.raises(OSError, match="No space"), atomic_folder(tmp_path / "b") as folder:
        (folder / "file").write_bytes(b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "above" / "folder") as folder:
            (folder / "within").mkdir()
            (folder / "within" / content).write_text(content)
    assert [path.name for path in (tmp_path / "above").rglob("*")] == ["folder", "within", "new"]


def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder") as folder:
        raise RuntimeError
    rename = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if target.name == "folder" and not (path / "old").exists():
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="Input/output"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").write_text("new")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["folder", "folder/old"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    temporary_path(tmp_path / "a").write_bytes(b"half")
    temporary_path(tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def holder(path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    return child


def test_two_holders_exclude_each_other_even_in_one_process(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with first:
        assert not second.try_acquire()
        assert is_locked(tmp_path / "lock")
    assert second.try_acquire()
    second.release()
    assert not is_locked(tmp_path / "lock")


def test_shared_holders_exclude_only_exclusive_ones(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock", shared=True), FileLock(tmp_path / "lock", shared=True):
        assert not FileLock(tmp_path / "lock").try_acquire()


def test_taking_a_lock_twice_with_one_object_is_a_mistake(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock, pytest.raises(RuntimeError, match="already held by this object"):
        lock.try_acquire()


def test_nobody_lives_behind_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")


def test_a_killed_holder_is_known_to_be_dead_at_once(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock")
    assert is_locked(tmp_path / "lock")
    child.kill()
    child.communicate()
    assert not is_locked(tmp_path / "lock")
    assert FileLock(tmp_path / "lock").try_acquire()


def test_a_digest_is_the_sha256(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 100)
    (tmp_path / "file").write_bytes(data)
    assert file_digest(tmp_path / "file") == hashlib.sha256(data).hexdigest()
