"""The data sets of a run: which shards they have, and the captions in them. No torch."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.codecs import decode_value
from model.data.samples import Split
from model.data.shards import DataSet, open_dataset, read_shard
from model.training.pretraining.config import DataConfig, Folder
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.order import block_shares


@dataclass(frozen=True)
class FolderShards:
    """One split of one folder: its files, how many samples each has, and how the folder is weighed against others.

    `source_weights` are those of the sources in it by name: how often one of their samples is drawn.
    """

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    weight: float
    source_weights: Mapping[str, float]
    digest: str


def open_split(config: DataConfig, split: Split) -> tuple[FolderShards, ...]:
    """The split of every folder that takes part. Raises `DataSetInvalid` and `TrainingConfigInvalid`."""
    folders = [folder for folder in config.folders if folder.weight > 0]
    for folder, share in zip(folders, block_shares([folder.weight for folder in folders]), strict=True):
        if not share:
            raise TrainingConfigInvalid(f"the weight of {folder.path} is less than a thousandth of all; leave it out")
    return tuple(_opened(folder, open_dataset(folder.path), split) for folder in folders)


def _opened(folder: Folder, dataset: DataSet, split: Split) -> FolderShards:
    shards = dataset.splits.get(split, ())
    weights = {source.name: source.weight for source in dataset.sources if source.samples.get(split)}
    if not dataset.samples(split) or not any(weights.values()):
        raise TrainingConfigInvalid(f"the data set {folder.path} has no samples to draw in its split {split}")
    return FolderShards(
        tuple(folder.path / shard.name for shard in shards),
        tuple(shard.samples for shard in shards),
        folder.weight,
        weights,
        hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest(),
    )


def texts_of(folders: Sequence[FolderShards], fields: Sequence[str]) -> Iterator[str]:
    """Every caption in the named fields of all samples, in order."""
    for path in (path for folder in folders for path in folder.paths):
        for entry in read_shard(path):
            for name, data in entry.files.items():
                if name.partition(".")[0] in fields:
                    yield from (caption.text for caption in decode_value(name, data))
