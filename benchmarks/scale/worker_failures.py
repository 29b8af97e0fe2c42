"""Simulate ingestion with failing workers: how much work is repeated, and how much longer ingestion takes.

Workers lease batches of inputs, one transaction per batch. A worker dies at a random moment (exponentially distributed)
and loses its current work; another replaces it after a while. The inputs of the dead worker are leased again when its
lease ends. They are then processed one by one, each in its own transaction, because one of them may have caused the
death.
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
    """`wasted`: share of the working time whose results were lost; `longer`: duration relative to no failures."""

    wasted: float
    longer: float
    deaths: int


def simulate(case: Case, seed: int) -> Outcome:
    """Simulate one run over all inputs."""
    rng = np.random.default_rng(seed)
    death_times = [float(rng.exponential(case.between_failures)) for _ in range(case.workers)]
    free = [(0.0, worker) for worker in range(case.workers)]
    suspects: list[tuple[float, int]] = []  # (time from which they can be leased, number of inputs)
    remaining, worked, lost, deaths, end = case.inputs, 0.0, 0.0, 0, 0.0
    while remaining or suspects:
        now, worker = heapq.heappop(free)
        is_suspect = bool(suspects) and suspects[0][0] <= now
        if not is_suspect and not remaining:  # dead workers lease the rest
            heapq.heappush(free, (suspects[0][0], worker))
            continue
        if is_suspect:
            _, size = heapq.heappop(suspects)
            duration = size * (case.per_input + case.per_batch)
        else:
            size = min(case.batch, remaining)
            remaining -= size
            duration = size * case.per_input + case.per_batch
        if now + duration <= death_times[worker]:
            worked += duration
            end = max(end, now + duration)
            heapq.heappush(free, (now + duration, worker))
            continue
        spent = max(0.0, death_times[worker] - now)
        done = int(spent / (case.per_input + case.per_batch)) if is_suspect else 0
        worked += spent
        lost += spent - done * (case.per_input + case.per_batch) if is_suspect else spent
        deaths += 1
        heapq.heappush(suspects, (max(now, death_times[worker]) + case.lease, size - done))
        back = max(now, death_times[worker]) + case.restart
        death_times[worker] = back + float(rng.exponential(case.between_failures))
        heapq.heappush(free, (back, worker))
    batches = -(-case.inputs // case.batch)
    undisturbed = (case.inputs * case.per_input + batches * case.per_batch) / case.workers
    return Outcome(lost / worked, end / undisturbed, deaths)


def average(case: Case, runs: int, seed: int) -> Outcome:
    """The mean of `runs` runs."""
    outcomes = [simulate(case, seed + number) for number in range(runs)]
    means = np.mean([(outcome.wasted, outcome.longer, outcome.deaths) for outcome in outcomes], axis=0)
    return Outcome(float(means[0]), float(means[1]), round(float(means[2])))
