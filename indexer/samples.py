"""From the files of one thing to a sample, and to the hash that tells whether any of it changed."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from indexer.decode import decode
from model.embedder import Sample, Value
from search.settings import Limits
from search.types import Attributes

# Raise it when the same files must be embedded anew because they are decoded differently.
DECODING_VERSION = "1"
PICTURE, CAPTION, THUMBNAIL = "rgb", "caption", "thumbnail"


@dataclass(frozen=True)
class RawFile:
    """One modality of an item as bytes; `name` is what errors call it, `modality` is canonical."""

    modality: str
    data: bytes
    name: str
    classes: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Of `data`, which is hashed once however often this is asked for: a photo takes some milliseconds."""
        return hashlib.sha256(self.data).hexdigest()


def content_hash(files: Sequence[RawFile], caption: str | None, attributes: Attributes) -> str:
    """sha256 over everything an item is made of, the names of its files included."""
    parts = [
        [file.modality, file.name, file.sha256, sorted(file.classes.items())]
        for file in sorted(files, key=lambda file: file.modality)
    ]
    whole = json.dumps([DECODING_VERSION, parts, caption, attributes], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def sample_hash(files: Sequence[RawFile], caption: str | None) -> str:
    """sha256 over what a model can see of an item: two with the same one have the same vectors.

    Neither names of files nor attributes count, so that copies under other names are told.
    """
    parts = [
        [file.modality, file.sha256, sorted(file.classes.items())]
        for file in sorted(files, key=lambda file: file.modality)
    ]
    return hashlib.sha256(json.dumps([DECODING_VERSION, parts, caption]).encode()).hexdigest()


def decode_all(files: Sequence[RawFile], caption: str | None, limits: Limits) -> dict[str, Value]:
    """The values of an item's modalities. Raises `DecodeError` for the first file that is not what it should be."""
    values = {file.modality: decode(file.modality, file.data, limits, file.name, file.classes) for file in files}
    if caption is not None:
        values[CAPTION] = caption
    return values


def sample_for(values: Mapping[str, Value], modalities: Collection[str]) -> Sample:
    """What of `values` the model takes."""
    return Sample({name: value for name, value in values.items() if name in modalities})
