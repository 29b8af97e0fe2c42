"""What several threads need and one of them makes."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Once(Generic[_T]):
    """The result of `make`, computed once by the first thread that asks for it."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make, self._made = make, list[_T]()
        self._lock = threading.Lock()

    def __call__(self) -> _T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
