"""What the service held, over time, and how fast that grew."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """What is held at a moment: seconds and operations since the start, the life of the service, figures by name."""

    seconds: float
    operations: int
    life: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Slope:
    """A figure at the first and the last of the samples that count, its most, its growth in a thousand operations."""

    name: str
    first: float
    last: float
    most: float
    growth: float


def slopes_of(samples: Sequence[Sample], names: Sequence[str]) -> list[Slope]:
    """By least squares over `samples`, which all have these figures. Raises `ValueError` for fewer than three."""
    if len(samples) < 3:
        raise ValueError(f"{len(samples)} samples are too few for a slope")
    at = np.array([sample.operations for sample in samples])
    return [_slope(name, at, np.array([sample.figures[name] for sample in samples])) for name in names]


def _slope(name: str, at: np.ndarray, held: np.ndarray) -> Slope:  # type: ignore[type-arg]
    growth = 1_000 * np.polyfit(at, held, 1)[0] if np.ptp(at) else 0.0
    return Slope(name, float(held[0]), float(held[-1]), float(held.max()), float(growth))


def of_longest_life(samples: Sequence[Sample]) -> list[Sample]:
    """Those of the life that has most of them, without its first quarter, in which caches fill."""
    lives = [sample.life for sample in samples]
    longest = max(set(lives), key=lives.count)
    kept = [sample for sample in samples if sample.life == longest]
    return kept[len(kept) // 4 :]


def second_half(samples: Sequence[Sample]) -> list[Sample]:
    """Those after half of the operations, when all keys have been put."""
    half = samples[-1].operations / 2
    return [sample for sample in samples if sample.operations >= half]
