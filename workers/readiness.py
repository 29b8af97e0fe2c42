"""Whether a worker is ready: each of its processes has loaded its model and embedded something.

Processes show it by locks that die with them, so a killed worker stops being ready at once.
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
    """Held by a worker's first process while it works. Raises `NameTaken` if another worker has its name."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._lock = FileLock(_path(settings, name))
        self.is_announced = False

    def __enter__(self) -> "Readiness":
        if not self._lock.try_acquire():
            raise NameTaken(f"a worker called {self._name!r} is already running here; give this one another --name")
        for path in self._of_processes():
            path.unlink(missing_ok=True)
        _ready_file(self._settings, self._name).unlink(missing_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        _ready_file(self._settings, self._name).unlink(missing_ok=True)
        self._lock.release()

    @staticmethod
    def of_process(settings: Settings, name: str) -> FileLock:
        """The lock that a process of the worker holds from the moment it is ready until it ends."""
        lock = FileLock(_path(settings, f"{name}-process-{os.getpid()}"))
        lock.acquire()
        return lock

    def release_in_child(self) -> None:
        """Run in the other processes, which inherit the first one's lock: the lock must die with the first process."""
        self._lock.release()

    def processes(self) -> int:
        """The number of ready processes of this worker."""
        return sum(map(is_locked, self._of_processes()))

    def announce(self) -> None:
        """From now on `is_ready` says so."""
        _ready_file(self._settings, self._name).touch()
        self.is_announced = True

    def _of_processes(self) -> Iterator[Path]:
        yield from self._settings.locks.glob(f"worker-{self._name}-process-*")


def is_ready(settings: Settings, name: str) -> bool:
    """Whether the worker `name` of this data directory is alive and has been ready."""
    return is_locked(_path(settings, name)) and _ready_file(settings, name).exists()


def _path(settings: Settings, name: str) -> Path:
    return settings.locks / f"worker-{name}"


def _ready_file(settings: Settings, name: str) -> Path:
    return settings.locks / f"worker-{name}-ready"
