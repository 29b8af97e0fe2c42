"""How often and how many at once one key may ask, how often one address may, and how often with a wrong key.

Counted in this process. Nothing is counted for a service that only its own machine can reach.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyseek.api.errors import TooManyRequests
from anyseek.search.settings import Serving

_MOST_NAMES = 10_000  # of those who have asked lately; beyond it those go that were silent for longest
_BURST = 4  # a quarter of a minute's requests may come at once
_WRONG_KEYS_PER_MINUTE = 60


class Bucket:
    """Lets each name do something `per_minute` times a minute, a quarter of them at once; 0: any number of times."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = max(1.0, per_minute / _BURST)
        self._per_second = per_minute / 60
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by name, how many at which time

    def wait(self, name: str) -> float:
        """The seconds until `name` may do it again; 0 if it may now."""
        return max(0.0, (1 - self._now(name)) / self._per_second) if self._per_second else 0.0

    def take(self, name: str) -> None:
        """Count one."""
        if self._per_second:
            self._left[name] = (self._now(name) - 1, self._clock())
            self._left.move_to_end(name)
            if len(self._left) > _MOST_NAMES:
                self._left.popitem(last=False)

    def _now(self, name: str) -> float:
        left, since = self._left.get(name, (self._most, 0.0))
        return min(self._most, left + (self._clock() - since) * self._per_second)


class Rates:
    """The limits of one service."""

    def __init__(self, serving: Serving, loopback: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = Bucket(0 if loopback else serving.requests_per_minute, clock)
        self._of_address = Bucket(0 if loopback else serving.requests_per_minute_of_address, clock)
        self._wrong_keys = Bucket(0 if loopback else _WRONG_KEYS_PER_MINUTE, clock)
        self._most_at_once = 0 if loopback else serving.requests_at_once
        self._at_once: dict[str, int] = {}

    def check_address(self, address: str) -> None:
        """Raises `TooManyRequests` for an address that has sent too many wrong keys."""
        _refuse_for(self._wrong_keys.wait(address), "too many wrong API keys came from this address")

    def note_wrong_key(self, address: str) -> None:
        self._wrong_keys.take(address)

    @contextmanager
    def request(self, key: str, address: str) -> Iterator[None]:
        """Count a request of a key from an address for as long as it is answered. Raises `TooManyRequests`."""
        _refuse_for(self._of_address.wait(address), "too many requests came from this address")
        _refuse_for(self._requests.wait(key), "this API key has asked too often")
        if self._most_at_once and self._at_once.get(key, 0) >= self._most_at_once:
            raise TooManyRequests(f"this API key has {self._most_at_once} requests under way, the most at once", 1)
        self._requests.take(key)
        self._of_address.take(address)
        self._at_once[key] = self._at_once.get(key, 0) + 1
        try:
            yield
        finally:
            self._at_once[key] -= 1
            if not self._at_once[key]:
                del self._at_once[key]


def _refuse_for(seconds: float, sentence: str) -> None:
    if seconds > 0:
        whole = int(seconds) + 1
        raise TooManyRequests(f"{sentence}; try again in {whole} s", whole)
