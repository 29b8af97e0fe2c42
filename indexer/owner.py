"""Who holds leases: one run of a job in one process, alive as long as its lock is held."""

import threading
import uuid
from pathlib import Path
from types import TracebackType

from indexer.errors import JobStopped
from search.locks import FileLock, alive


class Owner:
    """A name that others can ask after. The kernel drops its lock when the process ends, however it ends."""

    def __init__(self, locks: Path) -> None:
        self._locks = locks
        self.name = uuid.uuid4().hex
        self._lock = FileLock(self._path(self.name))
        self._stopped = threading.Event()

    def __enter__(self) -> "Owner":
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path(self.name).unlink(missing_ok=True)
        self._lock.release()

    def is_alive(self, name: str) -> bool:
        """Whether the owner called `name` still runs; a dead one's lock file is removed."""
        if alive(self._path(name)):
            return True
        self._path(name).unlink(missing_ok=True)
        return False

    def stop(self) -> None:
        """Have the run end at its next step, from any thread; its job stays as it is."""
        self._stopped.set()

    def check(self) -> None:
        """Raises `JobStopped` once `stop` was called."""
        if self._stopped.is_set():
            raise JobStopped("this process stops; the job goes on when one that can run it starts")

    def _path(self, name: str) -> Path:
        return self._locks / f"owner-{name}"
