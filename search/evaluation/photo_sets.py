"""The photos suite: labelled photos found by their labels' names, and found by their own edges.

It reads a folder of tar shards in the WebDataset convention: `KEY.webp` and `KEY.json` with `label` (or null), `split`
(train, val or test) and sometimes `caption`, a person's words for things of that label.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data.edges import varied_canny
from model.drawing import ByteArray
from model.embedder import Sample
from model.formats.color_palette import palette_of
from search.errors import NotAligned
from search.evaluation.aligned import AlignedSet, LazySamples, QuerySet, evenly

_SHARDS = "photos-*.tar"
_NO_CLASS = frozenset({"not sure", "skip", "other", "background google"})
_SAME_CLASS = {"faces easy": "faces"}  # the same photos, cropped
_TRAINING_PHOTOS, _TRAINING_EDGES = 2_000, 600  # that the ridge is fitted on
_PHOTOS_WITH_EDGES = 1_000
_COLOURS = 5


@dataclass(frozen=True)
class _Photo:
    """One photo as it is stored; `label` None: its source has none that names a class."""

    key: str
    data: bytes
    split: str
    label: str | None
    caption: str | None


def photo_sets(folder: Path, most: int | None) -> list[tuple[AlignedSet, AlignedSet | None]]:
    """Test photos, each set with training photos to fit the ridge on: labelled ones, and up to 1,000 with edges.

    At most `most` photos a set. Raises `NotAligned` if there are no test photos in shards in `folder`.
    """
    photos = [photo for shard in sorted(folder.glob(_SHARDS)) for photo in _read_shard(shard)]
    tests = [photo for photo in photos if photo.split == "test"]
    training = [photo for photo in photos if photo.split == "train"]
    if not tests:
        raise NotAligned(f"{folder} has no {_SHARDS} with test photos; docs/evaluation.md says how it is laid out")
    texts = {photo.label: photo.caption for photo in photos if photo.label and photo.caption}
    with_edges = evenly(tests, min(most or _PHOTOS_WITH_EDGES, _PHOTOS_WITH_EDGES))
    return [
        (
            _by_label("photos", evenly(_labelled(tests), most), texts),
            _by_label("photos (train)", evenly(_labelled(training), _TRAINING_PHOTOS), texts) if training else None,
        ),
        (
            _by_edges("photo edges", with_edges),
            _by_edges("photo edges (train)", evenly(training, _TRAINING_EDGES)) if training else None,
        ),
    ]


def _labelled(photos: Sequence[_Photo]) -> list[_Photo]:
    return [photo for photo in photos if photo.label]


def _by_label(name: str, photos: Sequence[_Photo], texts: Mapping[str, str]) -> AlignedSet:
    """Photos that are asked for by the bare names of their labels, and by a person's description where there is one."""
    labels = sorted({photo.label for photo in photos if photo.label})
    described = {label: texts[label] for label in labels if label in texts}
    queries = [_texts("label", {label: label for label in labels})]
    if described:
        queries.append(_texts("description", described))
    return AlignedSet(
        name,
        tuple(photo.key for photo in photos),
        LazySamples(photos, lambda photo: Sample({"rgb": _decoded(photo)})),
        tuple(frozenset({photo.label} if photo.label else ()) for photo in photos),
        tuple(queries),
    )


def _texts(name: str, texts: Mapping[str, str]) -> QuerySet:
    """One text a label, which should find everything of that label."""
    samples = [Sample({"caption": text}) for text in texts.values()]
    return QuerySet(name, "caption", samples, (None,) * len(texts), tuple(frozenset({label}) for label in texts))


def _by_edges(name: str, photos: Sequence[_Photo]) -> AlignedSet:
    return AlignedSet(name, tuple(photo.key for photo in photos), LazySamples(photos, _edged))


def _edged(photo: _Photo) -> Sample:
    """A photo with its Canny edges, drawn with a seed of its own, and its palette."""
    picture = _decoded(photo)
    drawn = varied_canny(picture, np.random.default_rng(zlib.crc32(photo.key.encode())))
    return Sample({"rgb": picture, "canny_edge": drawn, "color_palette": palette_of(picture, _COLOURS)})


def _decoded(photo: _Photo) -> ByteArray:
    """uint8 (H, W, 3). Raises `NotAligned` if the photo is damaged."""
    try:
        return np.asarray(Image.open(io.BytesIO(photo.data)).convert("RGB"))
    except OSError as error:
        raise NotAligned(f"the photo {photo.key} cannot be decoded: {error}") from error


def _read_shard(path: Path) -> list[_Photo]:
    """The photos of a shard that are for testing or training. Raises `NotAligned` if it is damaged."""
    try:
        with tarfile.open(path) as archive:
            members = {m.name: (archive.extractfile(m) or io.BytesIO()).read() for m in archive if m.isfile()}
        about = {name.removesuffix(".json"): json.loads(members[name]) for name in members if name.endswith(".json")}
        return [_photo(key, members[f"{key}.webp"], about[key]) for key in sorted(about)]
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise NotAligned(f"{path} is no shard of photos: {error}") from error


def _photo(key: str, data: bytes, about: Mapping[str, Any]) -> _Photo:
    label = about["label"]
    named = None if label in _NO_CLASS else _SAME_CLASS.get(label, label)
    return _Photo(key, data, about["split"], named, about.get("caption"))
