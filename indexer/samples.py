"""Samples and content hashes from the files of an item, read from its source or from its stored originals.

Class names of region maps are stored with the item, in one asset per map: `semseg.classes` for the map `semseg`
contains `{"0": "sky"}`. Items with the same names share the file.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from anyseek.indexer.errors import InputError
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.documents import parse_classes
from anyseek.model.modalities.reading.encoded import read_file
from anyseek.model.seam import Sample, Value
from anyseek.search.assets.base import AssetStore
from anyseek.search.assets.files import not_found_error
from anyseek.search.settings import Limits
from anyseek.search.telemetry.spans import Stage, time_stage
from anyseek.search.types import Asset, Attributes, Item

# Increment when decoding changes so that all files must be embedded again; for a change to some pictures only, see
# `anyseek.model.modalities.reading.pictures.decoding_version`.
DECODING_VERSION = "1"
PICTURE, CAPTION, THUMBNAIL = "rgb", "caption", "thumbnail"
_CLASSES, _CLASSES_MEDIA_TYPE = ".classes", "application/json"


class OriginalChanged(InputError):
    code = "original-changed"


@dataclass(frozen=True)
class RawFile:
    """One modality of an item as bytes; errors call it `name`, `modality` is its canonical name."""

    modality: str
    data: bytes
    name: str
    classes: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """The sha256 of `data`, cached: a photo takes some milliseconds."""
        return hashlib.sha256(self.data).hexdigest()


def content_hash(
    files: Sequence[RawFile], caption: str | None, attributes: Attributes, reading_version: str = ""
) -> str:
    """sha256 over all inputs of an item, including file names and the version of its derived attributes."""
    parts = [[file.modality, file.name, file.sha256, sorted(file.classes.items())] for file in _by_modality(files)]
    content = [DECODING_VERSION, parts, caption, attributes, *([reading_version] if reading_version else [])]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sample_hash(files: Sequence[RawFile], caption: str | None, decoding_version: str = DECODING_VERSION) -> str:
    """sha256 over the model's input: items with the same hash have the same vectors.

    `decoding_version` is that of the picture. File names and attributes are excluded, so that renamed copies are
    recognised.
    """
    parts = [[file.modality, file.sha256, sorted(file.classes.items())] for file in _by_modality(files)]
    return hashlib.sha256(json.dumps([decoding_version, parts, caption]).encode()).hexdigest()


def _by_modality(files: Sequence[RawFile]) -> list[RawFile]:
    return sorted(files, key=lambda file: file.modality)


def decode_all(files: Sequence[RawFile], caption: str | None, limits: Limits) -> dict[str, Value]:
    """Decode the files of an item to values by modality. Raises `DecodeError` for the first invalid file."""
    with time_stage(Stage.DECODE):
        values = {file.modality: decode(file.modality, file.data, limits, file.name, file.classes) for file in files}
    if caption is not None:
        values[CAPTION] = caption
    return values


def sample_for(values: Mapping[str, Value], modalities: Collection[str]) -> Sample:
    """The sample with the `values` whose modalities the model takes."""
    return Sample({name: value for name, value in values.items() if name in modalities})


def store_class_names(files: Sequence[RawFile], store: AssetStore) -> list[Asset]:
    """Store the class names of an item's region maps; return their assets."""
    return [
        store.put(
            file.modality + _CLASSES,
            json.dumps(dict(sorted(file.classes.items())), ensure_ascii=False).encode(),
            _CLASSES_MEDIA_TYPE,
        )
        for file in files
        if file.classes
    ]


def class_names(item: Item, modality: str, store: AssetStore) -> dict[int, str]:
    """The class names of an item's region map by id, empty if it has none. Raises `AssetNotFound`, `StoreCorrupt`."""
    asset = item.assets.get(modality + _CLASSES)
    return {} if asset is None else parse_classes(json.loads(store.read(asset)), asset.name)


def read_originals(item: Item, store: AssetStore, limits: Limits) -> dict[str, Value]:
    """Decode the item's stored originals to values by modality.

    Raises `AssetNotFound`, `StoreCorrupt`, `InputError` or `DecodeError` for an original that is missing, damaged or
    changed.
    """
    files = [
        RawFile(
            asset.name, _read_original(item, asset, store, limits), asset.location, class_names(item, asset.name, store)
        )
        for asset in item.assets.values()
        if asset.name != THUMBNAIL and not asset.name.endswith(_CLASSES)
    ]
    return decode_all(files, item.caption, limits)


def _read_original(item: Item, asset: Asset, store: AssetStore, limits: Limits) -> bytes:
    if asset.stored:
        return store.read(asset)
    if not (path := Path(asset.location)).is_file():
        raise not_found_error(asset)
    data = read_file(path, limits, asset.location)
    if hashlib.sha256(data).hexdigest() != asset.sha256:
        raise OriginalChanged(
            f"{asset.location} has changed since the item {item.key!r} was made from it; index its folder again first"
        )
    return data
