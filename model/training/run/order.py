"""The order of samples: a function of the seed and a sample's number alone, so that a run can resume anywhere.

Folders take turns by weight, in blocks of 1,000 samples that hold each folder's exact share. Within a folder, every
sample comes once before any repeats: its shards are shuffled and cut into windows, and the samples of all shards in a
window are shuffled together. So only one window of shards is read at a time. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_BLOCK = 1000  # samples in which every folder has its share
_REMEMBERED = 8  # windows or blocks whose order is kept

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """The place of a sample: number of the folder, of the shard in it, of the sample in the shard."""

    folder: int
    shard: int
    sample: int


class FolderOrder:
    """The endless order of one folder's samples: `counts` has the samples of each shard, at least one in all."""

    def __init__(self, counts: Sequence[int], window: int, seed: Sequence[int]) -> None:
        self._counts = np.asarray(counts, np.int64)
        self._total = int(self._counts.sum())
        self._window, self._seed = window, tuple(seed)
        self._shards = lru_cache(2)(self._shuffled_shards)
        self._samples = lru_cache(_REMEMBERED)(self._shuffled_window)

    def place(self, position: int) -> tuple[int, int]:
        """The shard and the sample in it at a position, from 0."""
        epoch, rest = divmod(position, self._total)
        shards, starts = self._shards(epoch)
        window = int(np.searchsorted(starts, rest, side="right")) - 1
        own = shards[window * self._window : (window + 1) * self._window]
        chosen = int(self._samples(epoch, window)[rest - int(starts[window])])
        ends = self._counts[own].cumsum()
        which = int(np.searchsorted(ends, chosen, side="right"))
        return int(own[which]), chosen - int(ends[which] - self._counts[own[which]])

    def anywhere(self, generator: np.random.Generator) -> tuple[int, int]:
        """A shard and a sample in it, every sample as likely."""
        ends = self._counts.cumsum()
        chosen = int(generator.integers(self._total))
        shard = int(np.searchsorted(ends, chosen, side="right"))
        return shard, chosen - int(ends[shard] - self._counts[shard])

    def _shuffled_shards(self, epoch: int) -> tuple[IntArray, IntArray]:
        """The shards of an epoch in their order, and the position in the epoch at which each window starts."""
        shards = np.random.default_rng([*self._seed, epoch]).permutation(len(self._counts))
        sizes = [int(self._counts[shards[n : n + self._window]].sum()) for n in range(0, len(shards), self._window)]
        return shards, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def _shuffled_window(self, epoch: int, window: int) -> IntArray:
        shards, _ = self._shards(epoch)
        own = shards[window * self._window : (window + 1) * self._window]
        return np.random.default_rng([*self._seed, epoch, window]).permutation(int(self._counts[own].sum()))


class MixedOrder:
    """The endless order of several folders' samples: `counts[f]` has the samples of each shard of folder f."""

    def __init__(self, counts: Sequence[Sequence[int]], weights: Sequence[float], window: int, seed: int) -> None:
        self._seed = seed
        self._shares = block_shares(weights)
        self._folders = [FolderOrder(own, window, (seed, 1, n)) for n, own in enumerate(counts)]
        self._turns = lru_cache(_REMEMBERED)(self._turns_of)

    def place(self, number: int) -> Place:
        """Where the sample of that number is, from 0."""
        block, rest = divmod(number, _BLOCK)
        folders, earlier = self._turns(block)
        folder = int(folders[rest])
        position = block * int(self._shares[folder]) + int(earlier[rest])
        return Place(folder, *self._folders[folder].place(position))

    def anywhere(self, folder: int, generator: np.random.Generator) -> Place:
        """The place of any sample of a folder, each as likely."""
        return Place(folder, *self._folders[folder].anywhere(generator))

    def _turns_of(self, block: int) -> tuple[IntArray, IntArray]:
        """Whose turn each sample of a block is, and how many the same folder had earlier in the block."""
        generator = np.random.default_rng([self._seed, 2, block])
        turns = generator.permutation(np.repeat(np.arange(len(self._shares)), self._shares))
        earlier = np.zeros(len(turns), np.int64)
        for folder in range(len(self._shares)):
            own = turns == folder
            earlier[own] = np.arange(int(own.sum()))
        return turns, earlier


def block_shares(weights: Sequence[float]) -> IntArray:
    """The number of samples of a block from each folder: in proportion to its weight, rounded to fill the block."""
    exact = np.asarray(weights, np.float64) / sum(weights) * _BLOCK
    shares = np.floor(exact).astype(np.int64)
    for folder in np.argsort(shares - exact, kind="stable")[: _BLOCK - int(shares.sum())]:
        shares[folder] += 1
    return shares
