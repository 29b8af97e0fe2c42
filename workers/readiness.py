"""Readiness of a worker: each of its processes has loaded the model and embedded something.

A ready process holds a file lock that ends with it, so a killed worker is not ready from that moment.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from anyseek.model.files import FileLock, is_locked
from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Settings


class NameTaken(AnyseekError):
    code = "worker-name-taken"


class Readiness:
    """The worker's name lock and ready state, held by its first process. Entering raises `NameTaken`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._lock = FileLock(_path(settings, name))
        self.is_announced = False

    def __enter__(self) -> "Readiness":
        if not self._lock.try_acquire():
            raise NameTaken(f"a worker called {self._name!r} already uses this data directory; choose another --name")
        for path in self._process_locks():
            path.unlink(missing_ok=True)
        _ready_file(self._settings, self._name).unlink(missing_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        _ready_file(self._settings, self._name).unlink(missing_ok=True)
        self._lock.release()

    @staticmethod
    def lock_process(settings: Settings, name: str) -> FileLock:
        """Acquire the lock by which this process counts as ready until it ends."""
        lock = FileLock(_path(settings, f"{name}-process-{os.getpid()}"))
        lock.acquire()
        return lock

    def release_in_child(self) -> None:
        """Release the inherited name lock in a child process: it must end with the first process."""
        self._lock.release()

    def ready_processes(self) -> int:
        """The number of ready processes of this worker."""
        return sum(map(is_locked, self._process_locks()))

    def announce(self) -> None:
        """Mark the worker as ready, for `is_ready`."""
        _ready_file(self._settings, self._name).touch()
        self.is_announced = True

    def _process_locks(self) -> Iterator[Path]:
        yield from self._settings.locks.glob(f"worker-{self._name}-process-*")


def is_ready(settings: Settings, name: str) -> bool:
    """Whether the worker `name` of this data directory runs and has announced that it is ready."""
    return is_locked(_path(settings, name)) and _ready_file(settings, name).exists()


def _path(settings: Settings, name: str) -> Path:
    return settings.locks / f"worker-{name}"


def _ready_file(settings: Settings, name: str) -> Path:
    return settings.locks / f"worker-{name}-ready"
