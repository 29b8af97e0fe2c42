"""From the files of an item to a sample, and to the hash that tells whether any of it changed; and those of an item in
the catalogue, read again.

Names of the ids in region maps are kept with the item, in a small stored file for each map that has them. The asset is
called `semseg.classes` for the map `semseg` and holds `{"0": "sky"}`. Items that share their names share the file.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from anyseek.indexer.errors import InputError
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.modalities.reading.documents import parse_classes
from anyseek.model.modalities.reading.encoded import read_file
from anyseek.model.seam import Sample, Value
from anyseek.search.assets import AssetStore
from anyseek.search.settings import Limits
from anyseek.search.telemetry.spans import Stage, time_stage
from anyseek.search.types import Asset, Attributes, Item

# Raise it when all files must be embedded anew because they are decoded differently; where only some pictures are,
# `anyseek.model.modalities.reading.pictures.decoding_version` says which.
DECODING_VERSION = "1"
PICTURE, CAPTION, THUMBNAIL = "rgb", "caption", "thumbnail"
_CLASSES, _CLASSES_MEDIA_TYPE = ".classes", "application/json"


class OriginalChanged(InputError):
    code = "original-changed"


@dataclass(frozen=True)
class RawFile:
    """One modality of an item as bytes; `name` is what errors call it, `modality` is canonical."""

    modality: str
    data: bytes
    name: str
    classes: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """The sha256 of `data`, computed only once: a photo takes some milliseconds."""
        return hashlib.sha256(self.data).hexdigest()


def content_hash(
    files: Sequence[RawFile], caption: str | None, attributes: Attributes, reading_version: str = ""
) -> str:
    """sha256 over everything an item is made of, the names of its files included.

    `reading_version` is that of what is read from its files beside values.
    """
    parts = [[file.modality, file.name, file.sha256, sorted(file.classes.items())] for file in _sorted(files)]
    whole = [DECODING_VERSION, parts, caption, attributes, *([reading_version] if reading_version else [])]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def sample_hash(files: Sequence[RawFile], caption: str | None, decoding_version: str = DECODING_VERSION) -> str:
    """sha256 over what a model can see of an item: two with the same one have the same vectors.

    `decoding_version` is that of its picture. Neither names of files nor attributes count, so that copies under other
    names are recognised.
    """
    parts = [[file.modality, file.sha256, sorted(file.classes.items())] for file in _sorted(files)]
    return hashlib.sha256(json.dumps([decoding_version, parts, caption]).encode()).hexdigest()


def _sorted(files: Sequence[RawFile]) -> list[RawFile]:
    return sorted(files, key=lambda file: file.modality)


def decode_all(files: Sequence[RawFile], caption: str | None, limits: Limits) -> dict[str, Value]:
    """The values of an item's modalities. Raises `DecodeError` for the first file that is not what it should be."""
    with time_stage(Stage.DECODE):
        values = {file.modality: decode(file.modality, file.data, limits, file.name, file.classes) for file in files}
    if caption is not None:
        values[CAPTION] = caption
    return values


def sample_for(values: Mapping[str, Value], modalities: Collection[str]) -> Sample:
    """The sample of those of `values` that the model takes."""
    return Sample({name: value for name, value in values.items() if name in modalities})


def store_class_names(files: Sequence[RawFile], store: AssetStore) -> list[Asset]:
    """Store the names of ids that come with an item's files."""
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
    """The names of the ids in a map of an item, none where it came without. Raises `AssetNotFound`, `StoreCorrupt`."""
    asset = item.assets.get(modality + _CLASSES)
    return {} if asset is None else parse_classes(json.loads(store.read(asset)), asset.name)


def read_originals(item: Item, store: AssetStore, limits: Limits) -> dict[str, Value]:
    """The values of the item's modalities, as they were when it was put.

    Raises `AssetNotFound`, `StoreCorrupt`, `InputError` or `DecodeError` for an original that is gone, damaged or not
    what it was.
    """
    files = [
        RawFile(asset.name, _original(item, asset, store, limits), asset.location, class_names(item, asset.name, store))
        for asset in item.assets.values()
        if asset.name != THUMBNAIL and not asset.name.endswith(_CLASSES)
    ]
    return decode_all(files, item.caption, limits)


def _original(item: Item, asset: Asset, store: AssetStore, limits: Limits) -> bytes:
    if asset.stored:
        return store.read(asset)
    data = read_file(store.path(asset), limits, asset.location)
    if hashlib.sha256(data).hexdigest() != asset.sha256:
        raise OriginalChanged(
            f"{asset.location} has changed since the item {item.key!r} was made from it; index its folder again first"
        )
    return data
