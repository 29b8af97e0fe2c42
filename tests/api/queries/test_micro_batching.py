"""Calls that wait for a turn are answered together, each with its own answer, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from anyseek.api.errors import Busy
from anyseek.api.queries.answering import MicroBatcher
from anyseek.api.service import Pool

T = TypeVar("T")
Numbers = MicroBatcher[str, int, int]
_SECONDS = 30


class HeldSquares:
    """Squares numbers in batches that it notes, each when it is let go; 13 and a key `bad` are refused."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self, key: str, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append((key, list(numbers)))
        self.entered.release()
        assert self.go_on.wait(_SECONDS)
        if key == "bad":
            raise LookupError("no such key")
        return [ValueError(f"{number}") if number == 13 else number * number for number in numbers]


def run_test(
    test: Callable[[HeldSquares, Numbers], Awaitable[T]],
    threads: int = 1,
    max_waiting: int = 64,
    max_batch: int = 8,
    slots: int | None = None,
) -> T:
    """The outcome of a test on an event loop, within a time."""

    async def run() -> T:
        held = HeldSquares()
        try:
            batcher = Numbers(Pool(threads, max_waiting), held, max_batch, slots)
            return await asyncio.wait_for(test(held, batcher), _SECONDS)
        finally:
            held.go_on.set()

    return asyncio.run(run())


async def submit_all(batcher: Numbers, numbers: Sequence[int], key: str = "a") -> list["asyncio.Task[int]"]:
    """Calls that are under way, or wait for their turn."""
    tasks = [asyncio.create_task(batcher.submit(key, number)) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def wait_entered(held: HeldSquares) -> None:
    assert await asyncio.to_thread(held.entered.acquire, timeout=_SECONDS)


def test_a_lone_call_is_answered_alone() -> None:
    async def test(held: HeldSquares, batcher: Numbers) -> None:
        held.go_on.set()
        assert [await batcher.submit("a", number) for number in (2, 3)] == [4, 9]
        assert held.batches == [("a", [2]), ("a", [3])]

    run_test(test)


def test_with_turns_of_their_own_calls_gather_however_many_threads_there_are() -> None:
    """So a card gets batches, and the pool's limit still says when too many wait."""

    async def test(held: HeldSquares, batcher: Numbers) -> None:
        first = await submit_all(batcher, [1])
        await wait_entered(held)
        others = await submit_all(batcher, [2, 3, 4])
        with pytest.raises(Busy):
            await batcher.submit("a", 5)
        held.go_on.set()
        assert await asyncio.gather(*first, *others) == [1, 4, 9, 16]
        assert held.batches == [("a", [1]), ("a", [2, 3, 4])]

    run_test(test, threads=4, max_waiting=0, slots=1)


def test_those_who_come_meanwhile_are_answered_together_by_key_and_at_most_so_many() -> None:
    async def test(held: HeldSquares, batcher: Numbers) -> None:
        first = await submit_all(batcher, [1])
        await wait_entered(held)
        others = await submit_all(batcher, [2, 3, 4, 5, 6]) + await submit_all(batcher, [7, 8], "b")
        held.go_on.set()
        assert await asyncio.gather(*first, *others) == [1, 4, 9, 16, 25, 36, 49, 64]
        assert held.batches == [("a", [1]), ("a", [2, 3, 4]), ("a", [5, 6]), ("b", [7, 8])]

    run_test(test, max_batch=3)


def test_an_error_stays_with_its_owner_and_one_of_the_batch_reaches_that_batch_alone() -> None:
    async def test(held: HeldSquares, batcher: Numbers) -> None:
        first = await submit_all(batcher, [1])
        await wait_entered(held)
        tasks = first + await submit_all(batcher, [12, 13, 14]) + await submit_all(batcher, [1, 2], "bad")
        held.go_on.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert told[:2] + told[3:4] == [1, 144, 196]
        assert [type(one) for one in told[2:3] + told[4:]] == [ValueError, LookupError, LookupError]

    run_test(test)


def test_a_caller_who_leaves_takes_only_its_own_call_along() -> None:
    async def test(held: HeldSquares, batcher: Numbers) -> None:
        begun = await submit_all(batcher, [1])
        await wait_entered(held)
        waiting = await submit_all(batcher, [2, 3])
        gone = await submit_all(batcher, [4, 5], "b")
        for task in (begun[0], waiting[0], *gone):
            task.cancel()
        await asyncio.sleep(0)
        held.go_on.set()
        assert await waiting[1] == 9
        assert await batcher.submit("b", 6) == 36
        assert held.batches == [("a", [1]), ("a", [3]), ("b", [6])]

    run_test(test)


def test_too_many_calls_are_told_to_come_back_and_those_answered_make_room() -> None:
    async def test(held: HeldSquares, batcher: Numbers) -> None:
        tasks = await submit_all(batcher, [1])
        await wait_entered(held)
        tasks += await submit_all(batcher, [2, 3])
        with pytest.raises(Busy):
            await batcher.submit("a", 4)
        held.go_on.set()
        assert await asyncio.gather(*tasks) == [1, 4, 9]
        assert await batcher.submit("a", 4) == 16

    run_test(test, max_waiting=2)


def test_a_loop_that_ends_leaves_no_caller_waiting() -> None:
    outcomes: list[str] = []

    async def wait(batcher: Numbers, number: int) -> None:
        try:
            await batcher.submit("a", number)
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise

    async def run(held: HeldSquares) -> None:
        batcher = Numbers(Pool(1, 64), held, 8)
        tasks = [asyncio.create_task(wait(batcher, number)) for number in range(4)]
        await wait_entered(held)
        threading.Timer(0.2, held.go_on.set).start()
        assert not any(task.done() for task in tasks)

    asyncio.run(run(HeldSquares()))
    assert outcomes == ["cancelled"] * 4
