"""The budget of a request, which also tells whether its client still waits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyseek.model.modalities.reading.budget import Budget, current_budget
from anyseek.search.settings import Limits


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more. No `AnyseekError`, since no sentence of it reaches anybody."""


class RequestBudget(Budget):
    """The budget of one request's files together, and whether its client still waits for the answer."""

    def __init__(self, pixels: int, seconds: float) -> None:
        super().__init__(pixels, seconds)
        self._abandoned = threading.Event()
        self._when_abandoned: list[Callable[[], object]] = []

    def abandon(self) -> None:
        """The client has left; `check` says so from now on, in any thread."""
        self._abandoned.set()
        for call in self._when_abandoned:
            call()

    @contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Have `abandon` call something if the client leaves during the block, on the event loop."""
        self._when_abandoned.append(call)
        try:
            yield
        finally:
            self._when_abandoned.remove(call)

    def check(self) -> None:
        """Raises `RequestAbandoned` once the client has left."""
        if self._abandoned.is_set():
            raise RequestAbandoned


def budget_of_request() -> RequestBudget | None:
    """The budget of the request that is answered here; None outside of requests."""
    budget = current_budget()
    return budget if isinstance(budget, RequestBudget) else None


def allow_batch(limits: Limits) -> None:
    """Raise the budget of the current request to that of a batch of queries."""
    budget = budget_of_request()
    if budget is not None:
        budget.allow(limits.pixels_per_batch, limits.decoding_seconds_per_batch)
