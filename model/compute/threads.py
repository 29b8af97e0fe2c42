"""Share torch's threads among concurrent forward passes, so that passes do not wait for each other.

A pass of several threads waits at each of its hundreds of operations for the last of them. Where others use the machine
too, one of them is always late, and the rest spin until it comes. Passes of one thread each, side by side, wait for
nobody. So passes that run at once divide the processors among them, and a pass that is alone takes them all, unless its
thread is one of several that index.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_MAX_MMAP_THRESHOLD = (
    32 * 1024 * 1024
)  # that glibc takes on 64 bits; above it, every array is mapped and unmapped by itself


def keep_freed_memory() -> bool:
    """Have glibc keep up to 64 MiB that was freed, so that the next pass of a network finds it mapped; else do nothing.

    A network's intermediate results have megabytes. By default each is mapped, cleared page by page by the system at
    its first use, and unmapped. Returns whether the library is glibc and took it.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl, macOS
        return False
    return bool(
        library.mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD)
        and library.mallopt(_TRIM_THRESHOLD, 2 * _MAX_MMAP_THRESHOLD)
    )


_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds in each period, or "max"


def processors(quota: Path = _QUOTA) -> int:
    """The number of processors that this process may use, by its affinity and its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most, period = quota.read_text(encoding="ascii").split()
        return max(1, min(allowed, round(int(most) / int(period))))
    except (OSError, ValueError):  # there is none
        return allowed


def threads_to_use(wanted: int, environment: Mapping[str, str] = os.environ) -> int:
    """The number of threads to compute with: `wanted`, or if 0 that of `OMP_NUM_THREADS`, or one for each processor."""
    of_openmp = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # further ones are of nested levels
    if wanted == 0 and of_openmp.isdecimal():
        wanted = int(of_openmp)
    return wanted or processors()


class Sharing:
    """Divides `threads` among the passes that run at once. Until they are set, torch is left as it was."""

    def __init__(self) -> None:
        self.threads: int | None = None
        self._own = threading.local()
        self._running = 0
        self._lock = threading.Lock()

    def take(self, threads: int) -> None:
        """Fix the number of threads of passes in the calling thread."""
        self._own.threads = threads

    @property
    def is_in_pass(self) -> bool:
        """Whether the calling thread is in a pass."""
        return getattr(self._own, "is_in_pass", False)

    @contextmanager
    def model_pass(self) -> Iterator[None]:
        """A forward pass in torch, with its share of the threads.

        A nested pass in the same thread changes nothing.
        """
        if self.is_in_pass:
            yield
            return
        self._own.is_in_pass = True
        with self._lock:
            self._running += 1
            share = max(1, (self.threads or 1) // self._running)
        try:
            if self.threads is not None:
                _set_threads(getattr(self._own, "threads", share))
            yield
        finally:
            self._own.is_in_pass = False
            with self._lock:
                self._running -= 1


def _set_threads(threads: int) -> None:
    """Set the number of torch's threads for calls from this thread. Takes less than a microsecond."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:  # asking also undoes what torch does at a first call
        torch.set_num_threads(threads)


SHARING = Sharing()  # torch's threads are the process's, so there is one


def prepare_process(threads: int) -> None:
    """Configure threads and memory of a process that runs models, before its model is loaded.

    Passes share as many threads as `threads_to_use` says of `threads`, and freed memory is kept for the next pass.
    """
    keep_freed_memory()
    SHARING.threads = threads_to_use(threads)
