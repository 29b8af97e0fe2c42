import threading
import time

import pytest

from anyseek.search.spaces.local.space import ReadersLock


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


def test_readers_behind_a_writer_that_gives_up_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, queued = ReadersLock(), threading.Event()
    condition = lock._changed
    wait = condition.wait

    def noted_wait(timeout: float | None = None) -> bool:
        queued.set()
        return wait(timeout)

    def interrupted_wait(_predicate: object) -> bool:
        while not queued.is_set():
            wait(0.01)
        raise KeyboardInterrupt

    def write() -> None:
        with pytest.raises(KeyboardInterrupt), lock.writing():
            pass

    def read() -> None:
        with lock.reading():
            pass

    monkeypatch.setattr(condition, "wait", noted_wait)
    monkeypatch.setattr(condition, "wait_for", interrupted_wait)
    with lock.reading():
        writer, reader = threading.Thread(target=write), threading.Thread(target=read, daemon=True)
        writer.start()
        while not lock._writers_waiting:
            time.sleep(0.001)
        reader.start()
        for thread in (writer, reader):
            thread.join(10)
            assert not thread.is_alive()
