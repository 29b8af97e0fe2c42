"""What all files of one request may cost together: pixels, as their headers declare them, and seconds of decoding.

Also whether the client still waits for the answer: the work of one that has left is given up between its stages.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from anyseek.model.modalities.reading.errors import RequestTooCostly


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more. No `AnyseekError`, since no sentence of it reaches anybody."""


class Budget:
    """Pixels and seconds that are left, used by one thread at a time. `pixels_left` may be set to fewer."""

    def __init__(self, pixels: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self.pixels_left, self._seconds_left = pixels, seconds
        self._abandoned = threading.Event()
        self._when_abandoned: list[Callable[[], object]] = []

    def take_pixels(self, name: str, count: int) -> None:
        """Count the pixels of a file before they are decoded, or the numbers of an array.

        Raises `RequestTooCostly` if fewer are left, and then counts none.
        """
        if count > self.pixels_left:
            raise RequestTooCostly(
                f"{name} has {count:,} pixels, and the request has {self.pixels_left:,} left of those that all its "
                "files may have: send smaller pictures, or fewer at once"
            )
        self.pixels_left -= count

    @contextmanager
    def decoding(self, name: str) -> Iterator[float]:
        """Time the block, which is given the seconds that are left. Raises `RequestTooCostly` if there are none."""
        if self._seconds_left <= 0:
            raise RequestTooCostly(
                f"the files of this request before {name} took {self._seconds:g} s to decode, which is the most for a "
                "request: send smaller pictures, or fewer at once"
            )
        started = self._clock()
        try:
            yield self._seconds_left
        finally:
            self._seconds_left -= self._clock() - started

    def allow(self, pixels: int, seconds: float) -> None:
        """Have so much from now on, as for a request that is a batch of queries."""
        self.pixels_left = pixels
        self._seconds = self._seconds_left = seconds

    def abandon(self) -> None:
        """The client has left; `check` says so from now on, in any thread."""
        self._abandoned.set()
        for call in self._when_abandoned:
            call()

    @contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Have `abandon` call something if the client leaves during the block, on the event loop."""
        self._when_abandoned.append(call)
        try:
            yield
        finally:
            self._when_abandoned.remove(call)

    def check(self) -> None:
        """Raises `RequestAbandoned` once the client has left."""
        if self._abandoned.is_set():
            raise RequestAbandoned


_OF_REQUEST: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Take what `decode` costs in the block from the budget; threads that it waits for are in the block, too."""
    before = _OF_REQUEST.set(budget)
    try:
        yield
    finally:
        _OF_REQUEST.reset(before)


def budget_of_request() -> Budget | None:
    """The budget of the request that is answered here; None outside of requests, where nothing is counted."""
    return _OF_REQUEST.get()


def check_wanted() -> None:
    """Between two stages of the work: raises `RequestAbandoned` if this is for a request whose client has left."""
    budget = budget_of_request()
    if budget is not None:
        budget.check()
