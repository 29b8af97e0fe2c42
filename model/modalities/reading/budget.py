"""The budget of a request: pixels, as file headers declare them, and seconds of decoding and of filtering."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from anyseek.model.errors import LimitExceeded
from anyseek.model.modalities.reading.errors import RequestTooCostly


class Budget:
    """The remaining pixels and seconds of a request, used by one thread at a time. `pixels_left` may be lowered."""

    def __init__(
        self,
        pixels: int,
        seconds: float,
        filter_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._filter, self._filter_deadline = "", math.inf
        self.reset(pixels, seconds, filter_seconds)

    def reset(self, pixels: int, seconds: float, filter_seconds: float) -> None:
        """Replace the remaining budget."""
        self.pixels_left = pixels
        self._seconds = self._seconds_left = seconds
        self._filter_seconds = self._filter_seconds_left = filter_seconds

    def take_pixels(self, name: str, count: int) -> None:
        """Charge the pixels of a file, or the numbers of an array, before they are decoded.

        Raises `RequestTooCostly` if fewer are left, and then charges none.
        """
        if count > self.pixels_left:
            raise RequestTooCostly(
                f"{name} takes {count:,} pixels, and the request has {self.pixels_left:,} left of those that all its "
                "files may have: send smaller pictures, or fewer at once"
            )
        self.pixels_left -= count

    @contextmanager
    def decoding(self, name: str) -> Iterator[float]:
        """Charge the time of the block; yields the remaining seconds. Raises `RequestTooCostly` if there are none."""
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
        """Charge the time of the block, which evaluates a filter; yields the remaining seconds.

        Once these are spent, `is_over` is true within the block, and `check` raises.
        """
        started = self._clock()
        self._filter, self._filter_deadline = name, started + self._filter_seconds_left
        try:
            yield self._filter_seconds_left
        finally:
            self._filter_seconds_left -= self._clock() - started
            self._filter_deadline = math.inf

    @property
    def is_over(self) -> bool:
        """Whether the time for filters is spent; a database polls it, in any thread, while a statement runs."""
        return self._clock() >= self._filter_deadline

    def check(self) -> None:
        """Called between stages of the work; a subclass also raises once the client has disconnected.

        Raises `LimitExceeded` for a filter once the seconds of all filters are spent.
        """
        if self._clock() >= self._filter_deadline:
            raise LimitExceeded(
                f"{self._filter} is not evaluated after {self._filter_seconds:g} s, which is the most for all filters "
                "and words of a request: ask with fewer conditions and words, or fewer filters at once"
            )

    def on_abandon(self, call: Callable[[], object]) -> AbstractContextManager[None]:
        """A block in which `call` runs if the client disconnects; without a request, never."""
        return nullcontext()


_CURRENT: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def use_budget(budget: Budget) -> Iterator[None]:
    """Charge decoding in the block, and in the threads it waits for, to the budget."""
    before = _CURRENT.set(budget)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_budget() -> Budget | None:
    """The budget set by `use_budget`; None outside of it, where nothing is charged."""
    return _CURRENT.get()


def raise_if_abandoned() -> None:
    """Between two stages of the work: raises what `Budget.check` of the block around raises."""
    budget = current_budget()
    if budget is not None:
        budget.check()
