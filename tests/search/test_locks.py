import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from search.locks import FileLock, ReadersLock, alive

HOLD = """
import sys; from pathlib import Path; from search.locks import FileLock
FileLock(Path(sys.argv[1])).acquire(); print("held", flush=True); sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_two_holders_exclude_each_other_even_in_one_process(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with first:
        assert not second.try_acquire()
        assert alive(tmp_path / "lock")
    assert second.try_acquire()
    second.release()
    assert not alive(tmp_path / "lock")


def test_shared_holders_exclude_only_exclusive_ones(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock", shared=True), FileLock(tmp_path / "lock", shared=True):
        assert not FileLock(tmp_path / "lock").try_acquire()


def test_taking_a_lock_twice_with_one_object_is_a_mistake(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock, pytest.raises(RuntimeError, match="held by this object already"):
        lock.try_acquire()


def test_nobody_lives_behind_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert not alive(tmp_path / "none")


def test_a_killed_holder_is_known_to_be_dead_at_once(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock")
    assert alive(tmp_path / "lock")
    child.kill()
    child.communicate()
    assert not alive(tmp_path / "lock")
    assert FileLock(tmp_path / "lock").try_acquire()


def test_readers_go_side_by_side_and_a_writer_alone() -> None:
    lock, together = ReadersLock(), threading.Barrier(2, timeout=10)
    state = {"value": 0}

    def read() -> None:
        with lock.reading():
            together.wait()

    def write() -> None:
        with lock.writing():
            seen = state["value"]
            time.sleep(0.002)
            state["value"] = seen + 1

    threads = [threading.Thread(target=target) for target in [read, read] + [write] * 20]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert state["value"] == 20
    assert not any(thread.is_alive() for thread in threads)


def test_steady_readers_do_not_starve_a_writer() -> None:
    lock, stop, written = ReadersLock(), threading.Event(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            with lock.reading():
                time.sleep(0.001)

    def write() -> None:
        with lock.writing():
            written.set()

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(10)
    stop.set()
    for thread in [*readers, writer]:
        thread.join(10)
