"""Results that take long to work out, kept until what they were made of changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ResultCache(Generic[K, V]):
    """The latest results by key, at most `most` of them.

    One is worked out at a time; whoever asks for the same meanwhile waits for it. Thread-safe.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._results: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The result for a key, which says of what state it is; made if it is not kept. Raises as `make` does."""
        with self._lock:
            results = self._results
            if key not in results:
                results[key] = make()
            results.move_to_end(key)
            while len(results) > self._most:
                results.popitem(last=False)
            return results[key]

    def forget(self) -> None:
        """Drop all results, without waiting for one that is worked out now."""
        self._results = OrderedDict()
