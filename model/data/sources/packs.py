"""Packs: tar shards `NAME-open-*.tar` and `NAME-research-*.tar` whose samples state their source, licence and split.

Each sample has a `KEY.json` with `id`, `source`, `license` and `split`. The class in a shard's name says whether its
samples may be redistributed (open) or are for non-commercial research only (research).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from anyseek.model.data.codecs import read_value
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.tar_members import Member, describe, find_shards, list_members
from anyseek.model.modalities.drawings import ByteArray

_TOLD = ("id", "source", "license", "split")


class Classes(StrEnum):
    """Which licence classes of a pack are taken."""

    ALL = "all"
    OPEN = "open"
    RESEARCH = "research"


@dataclass(frozen=True)
class PackOptions:
    """Options: `path` is the folder of the shards; `classes` are the licence classes to take.

    `of` keeps only samples of these sources, or all if it is empty; `without` excludes sources, so that one can be left
    out.
    """

    path: Path
    classes: Classes = Classes.ALL
    of: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def takes(self, source: str) -> bool:
        """Whether samples of this source are taken."""
        return source not in self.without and (not self.of or source in self.of)


@dataclass(frozen=True)
class PackEntry:
    """One sample of a pack: its files by ending, what its `.json` says, and its licence class, open or research."""

    files: Mapping[str, Member]
    about: Mapping[str, Any]
    licence_class: Classes

    @property
    def source(self) -> str:
        """Whose sample it is, such as `flickr8k`."""
        return str(self.about["source"])

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of every sample: source, licence and its class, the id there, the original's size in pixels."""
        return {
            "source": self.source,
            "licence": self.about["license"],
            "licence_class": str(self.licence_class),
            "id": self.about["id"],
            "original_width": self.about["width"],
            "original_height": self.about["height"],
        }

    def file(self, ending: str) -> bytes:
        """The bytes of the file with this ending. Raises `SampleInvalid` if there is none."""
        if ending not in self.files:
            raise SampleInvalid(f"{self.about['id']} has no .{ending}")
        return self.files[ending].read()

    def photo(self) -> ByteArray:
        """uint8 (H, W, 3). Raises `SampleInvalid`."""
        picture: ByteArray = read_value("rgb", self.file("webp"), f"the photo of {self.about['id']}")
        return picture


@dataclass(frozen=True)
class Pack:
    """The samples of a pack by key: `open/NUMBER` or `research/NUMBER`; `origin` stands for the files they are in."""

    entries: Mapping[str, PackEntry]
    origin: str

    def keys(self, split: Split) -> Sequence[str]:
        """The keys of a split, sorted."""
        return [key for key, entry in self.entries.items() if entry.about["split"] == split]


def read_pack(name: str, options: PackOptions) -> Pack:
    """The samples of the shards `name-CLASS-*.tar` that the options take. Raises `SourceUnavailable`."""
    classes = [Classes.OPEN, Classes.RESEARCH] if options.classes is Classes.ALL else [options.classes]
    entries: dict[str, PackEntry] = {}
    for one in classes:
        pattern = options.path / f"{name}-{one}-*.tar"
        if options.classes is Classes.ALL and not sorted(options.path.glob(pattern.name)):
            continue
        for key, files in list_members(find_shards(pattern)).items():
            entry = PackEntry(files, _read_about(key, files), one)
            if options.takes(entry.source):
                entries[f"{one}/{key}"] = entry
    if not entries:
        raise SourceUnavailable(
            f"{options.path} has no sample of the kind {name} that is wanted; check path and sources"
        )
    return Pack(entries, f"{name}, {describe({key: entry.files for key, entry in entries.items()})}")


def _read_about(key: str, files: Mapping[str, Member]) -> dict[str, Any]:
    """What a sample says of itself. Raises `SourceUnavailable`, naming what it lacks."""
    try:
        about: dict[str, Any] = json.loads(files["json"].read())
        if missing := [name for name in (*_TOLD, "width", "height") if name not in about]:
            raise SourceUnavailable(f"the .json of sample {key} does not say its {missing[0]}")
        Split(about["split"])
    except (KeyError, ValueError, TypeError, SampleInvalid) as error:
        raise SourceUnavailable(f"sample {key} has no .json with its split: {error!r}") from error
    return about
