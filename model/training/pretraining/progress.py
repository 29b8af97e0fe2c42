"""A line now and then while many samples are gone through. No torch."""

import time
from collections.abc import Callable

_EVERY = 10.0  # seconds


class Progress:
    """Says how many of `total` samples something was done with, at most every ten seconds, and when all are done."""

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self._what, self._total, self._say = what, total, say
        self._done, self._last = 0, time.monotonic()

    def add(self, samples: int) -> None:
        """So many more are done."""
        self._done += samples
        now = time.monotonic()
        if self._done == self._total or now - self._last >= _EVERY:
            self._last = now
            self._say(f"{self._what} of {self._done:,} of {self._total:,} samples")
