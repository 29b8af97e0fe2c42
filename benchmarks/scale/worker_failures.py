"""Simulate ingestion with failing workers: how much work is repeated, and how much longer ingestion takes.

Workers lease batches of inputs, one transaction per batch. A worker dies at a random moment (exponentially distributed)
and loses its current work; a new one replaces it after a while. The dead worker's inputs are leased again once the
death is noticed: after the lease time if the worker was on another machine. They are then processed alone, one
transaction each, because one of them may have caused the death.
"""

import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """Times are in seconds; `between_failures` is one worker's mean, `per_batch` what a transaction costs."""

    lease: float
    batch: int
    between_failures: float
    inputs: int = 200_000
    workers: int = 16
    per_input: float = 0.1
    per_batch: float = 0.02
    restart: float = 30.0


@dataclass(frozen=True)
class Outcome:
    """`wasted`: share of the working time whose results were lost; `longer`: time by that without any failure."""

    wasted: float
    longer: float
    deaths: int


def simulate(case: Case, seed: int) -> Outcome:
    """One run from the first input to the last."""
    chance = np.random.default_rng(seed)
    dies = [float(chance.exponential(case.between_failures)) for _ in range(case.workers)]
    free = [(0.0, worker) for worker in range(case.workers)]
    suspects: list[tuple[float, int]] = []  # from when on, how many inputs
    left, worked, lost, deaths, ends = case.inputs, 0.0, 0.0, 0, 0.0
    while left or suspects:
        now, worker = heapq.heappop(free)
        alone = bool(suspects) and suspects[0][0] <= now
        if not alone and not left:  # the rest is leased by the dead
            heapq.heappush(free, (suspects[0][0], worker))
            continue
        if alone:
            _, size = heapq.heappop(suspects)
            takes = size * (case.per_input + case.per_batch)
        else:
            size = min(case.batch, left)
            left -= size
            takes = size * case.per_input + case.per_batch
        if now + takes <= dies[worker]:
            worked += takes
            ends = max(ends, now + takes)
            heapq.heappush(free, (now + takes, worker))
            continue
        spent = max(0.0, dies[worker] - now)
        done = int(spent / (case.per_input + case.per_batch)) if alone else 0
        worked += spent
        lost += spent - done * (case.per_input + case.per_batch) if alone else spent
        deaths += 1
        heapq.heappush(suspects, (max(now, dies[worker]) + case.lease, size - done))
        back = max(now, dies[worker]) + case.restart
        dies[worker] = back + float(chance.exponential(case.between_failures))
        heapq.heappush(free, (back, worker))
    batches = -(-case.inputs // case.batch)
    undisturbed = (case.inputs * case.per_input + batches * case.per_batch) / case.workers
    return Outcome(lost / worked, ends / undisturbed, deaths)


def average(case: Case, runs: int, seed: int) -> Outcome:
    """The mean of `runs` runs."""
    outcomes = [simulate(case, seed + number) for number in range(runs)]
    means = np.mean([(outcome.wasted, outcome.longer, outcome.deaths) for outcome in outcomes], axis=0)
    return Outcome(float(means[0]), float(means[1]), round(float(means[2])))
