"""Thread-safe lazy values."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Lazy(Generic[_T]):
    """A thread-safe lazy value: `make` runs at the first call, once."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make, self._made = make, list[_T]()
        self._lock = threading.Lock()

    def __call__(self) -> _T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
