"""Cache of expensive results."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ResultCache(Generic[K, V]):
    """LRU cache of at most `max_entries` results. Thread-safe.

    One result is computed at a time; other callers wait for it.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._results: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The cached result, computed by `make` if absent; `key` must include the state that the result depends on."""
        with self._lock:
            results = self._results
            if key not in results:
                results[key] = make()
            results.move_to_end(key)
            while len(results) > self._max_entries:
                results.popitem(last=False)
            return results[key]

    def forget(self) -> None:
        """Drop all results, without waiting for one being computed."""
        self._results = OrderedDict()
