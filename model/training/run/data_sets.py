"""The data sets of a run: the order of samples, single samples of shards, and a pass over all of them. No torch.

The order is a function of the seed and a sample's number alone, so that a run can resume anywhere. Folders take turns
by weight, in blocks of 1,000 samples that hold each folder's exact share. Within a folder, every sample comes once
before any repeats: its shards are shuffled and cut into windows, and the samples of all shards in a window are shuffled
together. So only one window of shards is read at a time."""

import hashlib
import os
import tarfile
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from anyseek.model.data.contents import decode_value
from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.data.samples import Split
from anyseek.model.data.shards import DataSet, Entry, open_dataset
from anyseek.model.training.run.config import DataConfig, Folder
from anyseek.model.training.run.errors import TrainingConfigInvalid

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

    def random_place(self, generator: np.random.Generator) -> tuple[int, int]:
        """A uniformly random sample: its shard and its index there."""
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
        """The position of the sample of that number, from 0."""
        block, rest = divmod(number, _BLOCK)
        folders, earlier = self._turns(block)
        folder = int(folders[rest])
        position = block * int(self._shares[folder]) + int(earlier[rest])
        return Place(folder, *self._folders[folder].place(position))

    def random_place(self, folder: int, generator: np.random.Generator) -> Place:
        """The place of a uniformly random sample of a folder."""
        return Place(folder, *self._folders[folder].random_place(generator))

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


@dataclass(frozen=True)
class _Shard:
    file: BinaryIO
    samples: tuple[tuple[str, Mapping[str, tuple[int, int]]], ...]  # key, then file name -> first byte and length

    def sample(self, path: Path, number: int) -> tuple[str, Mapping[str, tuple[int, int]]]:
        """Key and files of sample `number`. Raises `ShardCorrupt`."""
        if number >= len(self.samples):
            raise ShardCorrupt(f"the shard {path} ends after {len(self.samples)} samples; its manifest has more")
        return self.samples[number]


class ShardReader:
    """Reads samples by shard and number; at most `kept` shards are open at a time."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._shards: OrderedDict[Path, _Shard] = OrderedDict()

    def read(self, path: Path, number: int, fields: Collection[str] | None = None) -> Entry:
        """Sample `number` (from 0) of a shard, all its files or those of some fields. Raises `ShardCorrupt`."""
        shard = self._opened(path)
        key, files = shard.sample(path, number)
        chosen = [name for name in files if fields is None or name.partition(".")[0] in fields]
        return Entry(key, {name: _read(shard.file, path, *files[name]) for name in chosen})

    def fields(self, path: Path, number: int) -> frozenset[str]:
        """The fields that sample `number` has. Raises `ShardCorrupt`."""
        return frozenset(name.partition(".")[0] for name in self._opened(path).sample(path, number)[1])

    def key(self, path: Path, number: int) -> str:
        """The key of sample `number`. Raises `ShardCorrupt`."""
        return self._opened(path).sample(path, number)[0]

    def close(self) -> None:
        """Close all files."""
        while self._shards:
            self._shards.popitem()[1].file.close()

    def _opened(self, path: Path) -> _Shard:
        if path in self._shards:
            self._shards.move_to_end(path)
            return self._shards[path]
        while len(self._shards) >= self._kept:
            self._shards.popitem(last=False)[1].file.close()
        self._shards[path] = _open_shard(path)
        return self._shards[path]


def _open_shard(path: Path) -> _Shard:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ShardCorrupt(f"the shard {path} cannot be read: {error.strerror}") from error
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                key, _, name = member.name.partition(".")
                samples.setdefault(key, {})[name] = (member.offset_data, member.size)
    except tarfile.TarError as error:
        file.close()
        raise ShardCorrupt(f"{path} is not a complete shard: {error}") from error
    return _Shard(file, tuple(samples.items()))


def _read(file: BinaryIO, path: Path, start: int, length: int) -> bytes:
    data = os.pread(file.fileno(), length, start)
    if len(data) != length:
        raise ShardCorrupt(f"{path} is not a complete shard: it ends before byte {start + length:,}")
    return data


@dataclass(frozen=True)
class FolderShards:
    """One split of one folder: its files, how many samples each has, and how the folder is weighed against others.

    `source_weights` are those of the sources in it by name: how often one of their samples is drawn. `first` is how
    many samples the folders before it have.
    """

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    weight: float
    source_weights: Mapping[str, float]
    digest: str
    first: int = 0

    @property
    def samples(self) -> int:
        return sum(self.counts)


def open_split(config: DataConfig, split: Split) -> tuple[FolderShards, ...]:
    """The split of every folder that takes part. Raises `DataSetInvalid` and `TrainingConfigInvalid`."""
    folders = [folder for folder in config.folders if folder.weight > 0]
    for folder, share in zip(folders, block_shares([folder.weight for folder in folders]), strict=True):
        if not share:
            raise TrainingConfigInvalid(f"the weight of {folder.path} is less than a thousandth of all; leave it out")
    opened: list[FolderShards] = []
    for folder in folders:
        first = sum(folder.samples for folder in opened)
        opened.append(replace(_open_folder(folder, open_dataset(folder.path), split), first=first))
    return tuple(opened)


def _open_folder(folder: Folder, dataset: DataSet, split: Split) -> FolderShards:
    shards = dataset.splits.get(split, ())
    weights = {source.name: source.weight for source in dataset.sources if source.samples.get(split)}
    if not dataset.samples(split) or not any(weights.values()):
        raise TrainingConfigInvalid(f"the data set {folder.path} has no samples in its split {split}")
    return FolderShards(
        tuple(folder.path / shard.name for shard in shards),
        tuple(shard.samples for shard in shards),
        folder.weight,
        weights,
        hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest(),
    )


def is_drawn_by_weight(reader: ShardReader, folder: FolderShards, place: Place, generator: np.random.Generator) -> bool:
    """Whether the sample at a place of `folder` is used in its turn: a random draw by its source's weight."""
    weights = folder.source_weights
    if len(set(weights.values())) == 1:
        return True
    source = reader.key(folder.paths[place.shard], place.sample).partition("/")[0]
    return bool(generator.random() * max(weights.values()) < weights.get(source, 1.0))


def texts_of(folders: Sequence[FolderShards], fields: Sequence[str]) -> Iterator[str]:
    """Every caption in the named fields of all samples, in order."""
    for _, entry in entries_of(folders, fields):
        for name, data in entry.files.items():
            yield from (caption.text for caption in decode_value(name, data))


def entries_of(folders: Sequence[FolderShards], fields: Collection[str]) -> Iterator[tuple[FolderShards, Entry]]:
    """All samples in order, each with its folder and the files of the named fields; nothing else is read."""
    with closing(ShardReader(kept=1)) as reader:
        for folder in folders:
            for path, count in zip(folder.paths, folder.counts, strict=True):
                for number in range(count):
                    yield folder, reader.read(path, number, fields)


_EVERY = 10.0  # seconds


class Progress:
    """Says how many of `total` samples something was done with, at most every ten seconds, and when all are done."""

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self._what, self._total, self._say = what, total, say
        self._done, self._last = 0, time.monotonic()

    def add(self, samples: int) -> None:
        """Count `samples` more as done."""
        self._done += samples
        now = time.monotonic()
        if self._done == self._total or now - self._last >= _EVERY:
            self._last = now
            self._say(f"{self._what} of {self._done:,} of {self._total:,} samples")
