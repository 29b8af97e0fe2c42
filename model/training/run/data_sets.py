"""The data sets of a run: their shards, how often samples are drawn, and a pass over all of them. No torch."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anyseek.model.data.contents import decode_value
from anyseek.model.data.samples import Split
from anyseek.model.data.shards import DataSet, Entry, open_dataset
from anyseek.model.training.run.config import DataConfig, Folder
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.order import Place, block_shares
from anyseek.model.training.run.shard_reader import ShardReader


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
        opened.append(replace(_opened(folder, open_dataset(folder.path), split), first=first))
    return tuple(opened)


def _opened(folder: Folder, dataset: DataSet, split: Split) -> FolderShards:
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


def taken_by_weight(reader: ShardReader, folder: FolderShards, place: Place, generator: np.random.Generator) -> bool:
    """Whether the sample at a place of `folder` is taken when it is its turn: a draw by its source's weight."""
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
        """So many more are done."""
        self._done += samples
        now = time.monotonic()
        if self._done == self._total or now - self._last >= _EVERY:
            self._last = now
            self._say(f"{self._what} of {self._done:,} of {self._total:,} samples")
