"""What a build remembers of each shard that is whole, so that it can go on after being killed at any moment."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.data.errors import DataSetInvalid
from model.data.making import Failure
from model.data.samples import Split
from model.data.shards import ATTRIBUTES, Entry, Shard, write_atomically

Classes = dict[str, dict[int, str]]


@dataclass(frozen=True)
class ShardRecord:
    """One shard: its file (None if all its samples failed), what is in it, and what is not.

    `modalities` and `sources` count samples; `classes` names ids of region maps by modality.
    """

    split: Split
    shard: Shard | None
    modalities: Mapping[str, int]
    sources: Mapping[str, int]
    classes: Classes
    failures: tuple[Failure, ...]


class Tally:
    """Counts the entries of a shard while it is written."""

    def __init__(self) -> None:
        self.modalities: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.classes: Classes = {}

    def add(self, entry: Entry, classes: Mapping[str, Mapping[int, str]]) -> None:
        """Count one entry; `classes` are the names of ids in its region maps. Raises `DataSetInvalid`."""
        self.modalities.update(name.partition(".")[0] for name in entry.files if name != ATTRIBUTES)
        self.sources[entry.key.partition("/")[0]] += 1
        merge_classes(self.classes, classes)


def merge_classes(known: Classes, found: Mapping[str, Mapping[int, str]]) -> None:
    """Add names of ids. Raises `DataSetInvalid` if an id has two names: then nobody could read the maps."""
    for modality, names in found.items():
        table = known.setdefault(modality, {})
        for number, name in names.items():
            if table.setdefault(number, name) != name:
                raise DataSetInvalid(
                    f"id {number} of {modality} is {table[number]!r} in one sample and {name!r} in another; "
                    "sources of one data set must share one table of classes"
                )


def write_record(path: Path, record: ShardRecord) -> None:
    """Keep what is known of a shard; the file appears whole or not at all."""
    write_atomically(path, json.dumps(asdict(record), sort_keys=True))


def read_record(path: Path) -> ShardRecord | None:
    """What `write_record` kept; None if it was not reached."""
    if not path.is_file():
        return None
    written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return ShardRecord(
        Split(written["split"]),
        Shard(**written["shard"]) if written["shard"] else None,
        written["modalities"],
        written["sources"],
        {modality: {int(n): name for n, name in names.items()} for modality, names in written["classes"].items()},
        tuple(Failure(**failure) for failure in written["failures"]),
    )


def all_failures(records: Iterable[ShardRecord]) -> list[Failure]:
    """The failures of all shards in their order."""
    return [failure for record in records for failure in record.failures]


def counts(records: Sequence[ShardRecord], source: str) -> dict[str, int]:
    """How many samples of a source are in each split."""
    found = {split: sum(r.sources.get(source, 0) for r in records if r.split is split) for split in Split}
    return {split.value: count for split, count in found.items() if count}
