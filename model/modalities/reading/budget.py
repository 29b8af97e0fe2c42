"""What a request may cost: pixels, as the headers of files declare them, and seconds of decoding and of filtering."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from anyseek.model.errors import LimitExceeded
from anyseek.model.modalities.reading.errors import RequestTooCostly


class Budget:
    """Pixels and seconds that are left, used by one thread at a time. `pixels_left` may be set to fewer."""

    def __init__(
        self,
        pixels: int,
        seconds: float,
        filter_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._filter, self._filter_stops = "", math.inf
        self.allow(pixels, seconds, filter_seconds)

    def allow(self, pixels: int, seconds: float, filter_seconds: float) -> None:
        """Have so much from now on."""
        self.pixels_left = pixels
        self._seconds = self._seconds_left = seconds
        self._filter_seconds = self._filter_seconds_left = filter_seconds

    def take_pixels(self, name: str, count: int) -> None:
        """Count the pixels of a file before they are decoded, or the numbers of an array.

        Raises `RequestTooCostly` if fewer are left, and then counts none.
        """
        if count > self.pixels_left:
            raise RequestTooCostly(
                f"{name} takes {count:,} pixels, and the request has {self.pixels_left:,} left of those that all its "
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

    @contextmanager
    def filtering(self, name: str) -> Iterator[float]:
        """Time the block, which evaluates a filter and is given the seconds that are left for it.

        Once these are over, `is_over` is true within the block, and `check` raises.
        """
        started = self._clock()
        self._filter, self._filter_stops = name, started + self._filter_seconds_left
        try:
            yield self._filter_seconds_left
        finally:
            self._filter_seconds_left -= self._clock() - started
            self._filter_stops = math.inf

    @property
    def is_over(self) -> bool:
        """Whether `check` raises; a database asks it, in any thread, while a statement runs."""
        return self._clock() >= self._filter_stops

    def check(self) -> None:
        """Called between stages of the work; a subclass raises once nobody waits for the result, too.

        Raises `LimitExceeded` for a filter when the seconds of all filters are over.
        """
        if self._clock() >= self._filter_stops:
            raise LimitExceeded(
                f"{self._filter} is not evaluated after {self._filter_seconds:g} s, which is the most for all filters "
                "and words of a request: ask with fewer conditions and words, or fewer filters at once"
            )

    def calling(self, call: Callable[[], object]) -> AbstractContextManager[None]:
        """A block in which `call` is called if the client leaves; a budget of no request has none that could."""
        return nullcontext()


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


def raise_if_abandoned() -> None:
    """Between two stages of the work: raises what `Budget.check` of the block around raises."""
    budget = current_budget()
    if budget is not None:
        budget.check()
