"""Work that takes long, in a few threads, with a bounded line of calls before them."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio
from anyio import to_thread

from api.errors import Busy

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """Runs at most `at_work` calls at a time; at most `waiting` more wait for their turn."""

    def __init__(self, at_work: int, waiting: int) -> None:
        self.at_work = at_work
        self.waiting = waiting
        self._limiter = anyio.CapacityLimiter(at_work)
        self._wanting = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the threads. Raises `Busy` when too many calls wait for one already."""
        if self._wanting >= self.at_work + self.waiting:
            raise Busy("too many requests are waiting; try again in a moment")
        self._wanting += 1
        try:
            return await to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._limiter)
        finally:
            self._wanting -= 1
