"""What a request, or a batch of queries, may cost: `model.modalities.reading.budget` with the limits of the service."""

from starlette.types import ASGIApp, Receive, Scope, Send

from anyseek.api.leaving import answer_while_connected
from anyseek.model.modalities.reading.budget import Budget, budget_of_request, spending
from anyseek.model.modalities.reading.decoders import Decoders, decoding_apart
from anyseek.search.settings import Limits


class Budgeted:
    """Pure ASGI: gives each request a budget of pixels and of seconds, which ends when its client leaves, and has
    its large pictures decoded apart."""

    def __init__(self, app: ASGIApp, limits: Limits, decoders: Decoders | None) -> None:
        self.app = app
        self.limits = limits
        self.decoders = decoders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        budget = Budget(self.limits.pixels_per_request, self.limits.decoding_seconds)
        with spending(budget), decoding_apart(self.decoders):
            await answer_while_connected(self.app, scope, receive, send, budget)


def allow_batch(limits: Limits) -> None:
    """Give the request that is answered here what all queries of a batch may cost together."""
    budget = budget_of_request()
    if budget is not None:
        budget.allow(limits.pixels_per_batch, limits.decoding_seconds_per_batch)
