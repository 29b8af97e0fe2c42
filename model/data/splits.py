"""Assign samples to splits by hash: the same on every machine, independent of the other samples."""

import hashlib
from dataclasses import dataclass

from anyseek.model.config_reader import Refused, Share
from anyseek.model.data.samples import Split


@dataclass(frozen=True)
class Shares:
    """How much of a source without splits of its own goes to `val` and `test`; the rest is for training."""

    val: Share = 0.05
    test: Share = 0.05

    def __post_init__(self) -> None:
        if self.val + self.test > 1:
            raise Refused("", f"must leave something for training: val {self.val} and test {self.test} are more than 1")

    def split_of(self, group: str) -> Split:
        """The split of everything that belongs to `group`: what looks alike must not be torn apart."""
        place = fraction(group)
        if place < self.test:
            return Split.TEST
        return Split.VAL if place < self.test + self.val else Split.TRAIN


def fraction(text: str) -> float:
    """A number in [0, 1) that stands for `text`."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
