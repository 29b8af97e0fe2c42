"""A split of a data set that `anyseek data build` made, as an aligned set."""

from pathlib import Path
from typing import Any, cast

from anyseek.model.data.aligned import AlignedSet, LazySamples, sample_evenly
from anyseek.model.data.contents import attributes_of, decode_value
from anyseek.model.data.samples import Caption, Origin, Split
from anyseek.model.data.shards import ATTRIBUTES, Entry, open_dataset, read_shard
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.seam import Sample, Value
from anyseek.search.errors import NotAligned


def shard_set(folder: Path, split: Split, most: int | None) -> AlignedSet:
    """Return a split, or at most `most` of it, evenly chosen. Files are kept encoded and decoded on use.

    Raises `DataSetInvalid`, `ShardCorrupt`, and `NotAligned` for an empty split.
    """
    dataset = open_dataset(folder)
    count = dataset.samples(split)
    if not count:
        has = ", ".join(f"{other.value} ({dataset.samples(other):,})" for other in Split if dataset.samples(other))
        raise NotAligned(
            f"the data set {folder} has no samples in its split {split.value}; it has {has or 'no samples'}"
        )
    chosen = set(sample_evenly(range(count), most))
    entries: list[Entry] = []
    place = 0
    for shard in dataset.splits[split]:
        for entry in read_shard(folder / shard.name, shard.sha256):
            if place in chosen:
                entries.append(entry)
            place += 1
    labels = [attributes_of(entry).get("label") for entry in entries]
    return AlignedSet(
        f"{dataset.name} ({split.value})",
        tuple(entry.key for entry in entries),
        LazySamples(entries, sample_of_entry),
        tuple(frozenset({label} if isinstance(label, str) else ()) for label in labels) if any(labels) else (),
    )


def sample_of_entry(entry: Entry) -> Sample:
    """Return the modalities of an entry that can be used as queries, with only one caption and one palette.

    A human caption is preferred to one from a template, and a palette of more colours to one of fewer. Raises
    `SampleInvalid`.
    """
    values: dict[str, Value] = {}
    for name, data in entry.files.items():
        modality = name.partition(".")[0]
        if modality in MODALITIES and name != ATTRIBUTES:
            value = _query_value(modality, decode_value(name, data))
            if value is not None:
                values[modality] = value
    return Sample(values)


def _query_value(modality: str, value: Any) -> Value | None:
    if modality == "caption":
        captions: tuple[Caption, ...] = value
        return min(captions, key=lambda caption: caption.origin is not Origin.HUMAN).text if captions else None
    if modality == "color_palette":
        return max(value, key=len, default=None)
    return cast(Value, value)
