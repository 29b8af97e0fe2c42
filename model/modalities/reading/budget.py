"""What reading may cost: pixels, as the headers of files declare them, and seconds of decoding."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from anyseek.model.modalities.reading.errors import RequestTooCostly


class Budget:
    """Pixels and seconds that are left, used by one thread at a time. `pixels_left` may be set to fewer."""

    def __init__(self, pixels: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.allow(pixels, seconds)

    def allow(self, pixels: int, seconds: float) -> None:
        """Have so much from now on."""
        self.pixels_left = pixels
        self._seconds = self._seconds_left = seconds

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

    def check(self) -> None:
        """Called between stages of the work: a subclass raises once nobody waits for the result."""


_CURRENT: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Take what `decode` costs in the block from the budget; threads that it waits for are in the block, too."""
    before = _CURRENT.set(budget)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_budget() -> Budget | None:
    """The budget of the block around; None outside of blocks, where nothing is counted."""
    return _CURRENT.get()


def check_wanted() -> None:
    """Between two stages of the work: raises what `Budget.check` of the block around raises."""
    budget = current_budget()
    if budget is not None:
        budget.check()
