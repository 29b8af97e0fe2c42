"""Who goes into which split, decided by hashes: the same on every machine, whatever else is there."""

import hashlib
from dataclasses import dataclass

from model.data.samples import Split


@dataclass(frozen=True)
class Shares:
    """How much of a source without splits of its own goes to `val` and `test`; the rest is for training."""

    val: float = 0.05
    test: float = 0.05

    def __post_init__(self) -> None:
        if self.val < 0 or self.test < 0 or self.val + self.test > 1:
            raise ValueError(f"val {self.val} and test {self.test} are shares of 1; the rest is for training")

    def split_of(self, group: str) -> Split:
        """The split of everything that belongs to `group`: what looks alike must not be torn apart."""
        place = fraction(group)
        if place < self.test:
            return Split.TEST
        return Split.VAL if place < self.test + self.val else Split.TRAIN


def fraction(text: str) -> float:
    """A number in [0, 1) that stands for `text`."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
