"""A lock between threads: many readers or one writer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadersLock:
    """A lock within a process: many threads read at once; a writer waits for them and then holds it alone.

    Readers that come while a writer waits queue behind it, so that steady reading cannot starve it. Not reentrant.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            while self._writing or self._writers_waiting:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if self._writers_waiting:  # nobody else waits for a reader to leave
                    self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._readers)
            except BaseException:
                self._writers_waiting -= 1
                self._changed.notify_all()  # the readers behind this writer need wait no longer
                raise
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
