"""Calls of one kind that wait for their turn are answered together, because a batch costs less than as many calls.

A call that finds a turn begins at once, so a lone caller never waits for others. Calls that come while all turns are
taken gather, and whoever is there when a turn comes is answered in one go.
"""

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
from anyio import to_thread

from anyseek.api.http.metrics import GATHERED
from anyseek.api.service import Pool

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class _Call(Generic[Q, A]):
    """What is asked, and where its caller waits for the answer; a caller who left has cancelled it."""

    asked: Q
    answer: "asyncio.Future[A]"


class Gathering(Generic[K, Q, A]):
    """Calls that take turns in a pool, those of the same key together. All its methods run on the event loop.

    `answer` runs in a thread. It is given a key with at most `most` calls, and returns an answer for each in their
    order, or the exception that its caller gets; what it raises, all callers of that batch get. With `turns` there are
    as many of their own, and those of the pool are left to others.
    """

    def __init__(
        self,
        pool: Pool,
        answer: Callable[[K, Sequence[Q]], Sequence[A | Exception]],
        most: int,
        turns: int | None = None,
    ) -> None:
        self._pool = pool
        self._turns = pool.turns if turns is None else anyio.CapacityLimiter(turns)
        self._answer = answer
        self._most = most
        self._threads = anyio.CapacityLimiter(math.inf)  # a batch that has its turn needs no other
        self._waiting: dict[K, list[_Call[Q, A]]] = {}  # those whose turn has not come
        self._batches: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks only weakly

    async def ask(self, key: K, asked: Q) -> A:
        """The answer to one call; a caller that is cancelled leaves its batch, and the others go on.

        Raises the exception in place of the answer, and `Busy` when too many calls wait already.
        """
        with self._pool.counted():
            call = _Call[Q, A](asked, asyncio.get_running_loop().create_future())
            batch = self._waiting.get(key)
            if batch is None or len(batch) >= self._most:
                batch = self._waiting[key] = []
                task = asyncio.create_task(self._take_turn(key, batch))
                self._batches.add(task)
                task.add_done_callback(self._batches.discard)
            batch.append(call)
            return await call.answer

    async def _take_turn(self, key: K, batch: list[_Call[Q, A]]) -> None:
        """Answer a batch when its turn comes. Whatever happens, no caller is left waiting."""
        try:
            try:
                self._turns.acquire_nowait()  # `async with` would go round the event loop for a free turn, too
            except anyio.WouldBlock:
                await self._turns.acquire()
            try:
                if self._waiting.get(key) is batch:
                    del self._waiting[key]
                here = [call for call in batch if not call.answer.done()]
                if here:
                    await self._answer_all(key, here)
            finally:
                self._turns.release()
        finally:
            for call in batch:
                call.answer.cancel()  # nothing happens to those that are answered

    async def _answer_all(self, key: K, batch: Sequence[_Call[Q, A]]) -> None:
        GATHERED.observe(len(batch))
        asked = [call.asked for call in batch]
        outcomes: Sequence[A | Exception]
        try:
            outcomes = await to_thread.run_sync(self._answer, key, asked, limiter=self._threads)
        except Exception as error:  # noqa: BLE001  every caller gets it
            outcomes = [error] * len(batch)
        for call, outcome in zip(batch, outcomes, strict=True):
            if call.answer.done():
                continue  # its caller has left
            if isinstance(outcome, Exception):
                call.answer.set_exception(outcome)
            else:
                call.answer.set_result(outcome)
