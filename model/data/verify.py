"""Checking a finished data set: `anyseek data verify`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from model.data.build import read_failures
from model.data.codecs import sample_of
from model.data.errors import DataSetInvalid, SampleInvalid, ShardCorrupt
from model.data.samples import Split
from model.data.shards import DataSet, Shard, read_shard


def verify(dataset: DataSet) -> Iterator[str]:
    """What is wrong with a data set, in words: shards, values in them, and counts. Nothing if all is well."""
    found: Counter[str] = Counter()
    keys: set[str] = set()
    for split in Split:
        for shard in dataset.splits.get(split, ()):
            yield from _verify_shard(dataset.folder, shard, found, keys)
    for modality in sorted({*found, *dataset.modalities}):
        told = dataset.modalities.get(modality, 0)
        if found[modality] != told:
            yield f"{found[modality]} samples have {modality}; the manifest says {told}"
    yield from _verify_failures(dataset)


def _verify_shard(folder: Path, shard: Shard, found: Counter[str], keys: set[str]) -> Iterator[str]:
    """Checksum, every value, and keys; counts the modalities in `found`."""
    samples = 0
    try:
        for entry in read_shard(folder / shard.name, shard.sha256):
            samples += 1
            if entry.key in keys:
                yield f"{shard.name}: {entry.key} is there twice"
            keys.add(entry.key)
            try:
                found.update(sample_of(entry).values.keys())
            except SampleInvalid as error:
                yield f"{shard.name}: {entry.key}: {error}"
    except ShardCorrupt as error:
        yield str(error)
    else:
        if samples != shard.samples:
            yield f"{shard.name} has {samples} samples; the manifest says {shard.samples}"


def _verify_failures(dataset: DataSet) -> Iterator[str]:
    try:
        listed = len(read_failures(dataset.folder))
    except DataSetInvalid as error:
        yield str(error)
        return
    if listed != dataset.failures:
        yield f"failures.jsonl has {listed} lines; the manifest says {dataset.failures}"
