"""Whether a worker is ready: each of its processes has loaded its model and embedded something.

Told by locks that die with their processes, so that a killed worker is not ready at once.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from search.errors import AnyseekError
from search.locks import FileLock, alive
from search.settings import Settings


class NameTaken(AnyseekError):
    code = "worker-name-taken"


class Readiness:
    """Held by a worker's first process for as long as it works. Raises `NameTaken` if another one has its name."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._lock = FileLock(_path(settings, name))
        self.is_told = False

    def __enter__(self) -> "Readiness":
        if not self._lock.try_acquire():
            raise NameTaken(f"a worker called {self._name!r} works here already; give this one another --name")
        for path in self._of_processes():
            path.unlink(missing_ok=True)
        _told(self._settings, self._name).unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _told(self._settings, self._name).unlink(missing_ok=True)
        self._lock.release()

    @staticmethod
    def of_process(settings: Settings, name: str) -> FileLock:
        """What a process of the worker holds from the moment it is ready until it ends."""
        lock = FileLock(_path(settings, f"{name}-process-{os.getpid()}"))
        lock.acquire()
        return lock

    def leave_to_first_process(self) -> None:
        """Run in the others, which share its lock as its children do: it is to die with the first."""
        self._lock.release()

    def processes(self) -> int:
        """How many processes of this worker are ready."""
        return sum(map(alive, self._of_processes()))

    def tell(self) -> None:
        """From now on `is_ready` says so."""
        _told(self._settings, self._name).touch()
        self.is_told = True

    def _of_processes(self) -> Iterator[Path]:
        yield from self._settings.locks.glob(f"worker-{self._name}-process-*")


def is_ready(settings: Settings, name: str) -> bool:
    """Whether the worker called `name` of this data directory lives and was ready once."""
    return alive(_path(settings, name)) and _told(settings, name).exists()


def _path(settings: Settings, name: str) -> Path:
    return settings.locks / f"worker-{name}"


def _told(settings: Settings, name: str) -> Path:
    return settings.locks / f"worker-{name}-ready"
