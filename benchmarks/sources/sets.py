"""Photos of one source each, and queries for them.

A gallery has at most 1,000 photos: those of the test split, then validation, then training. Only queries of the test
split count.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import (
    CaptionsSource,
    MeasuredSource,
    PackOptions,
    PackSource,
    PhotosOptions,
    PhotosSource,
    SketchesSource,
)
from anyseek.model.modalities.edge_detection import random_canny

CAPTION, DRAWING = "caption", "canny_edge"
_GALLERY, _TEST = 1_000, 700  # the most photos of a gallery, and of its test split
_TESTED, _OTHERS = 500, 100  # the most pictures that are queries
_PER_CLASS = 20  # photos of a class that a drawing should find
_SHEET = 224
Read = Callable[[], Any]


@dataclass(frozen=True)
class Query:
    """A query: its value, the rows of the right photos, and the photo or class that intervals resample."""

    read: Read
    right: tuple[int, ...]
    unit: str


@dataclass(frozen=True)
class SourceSet:
    """A gallery of one source, and queries of one kind.

    `others` are queries of the validation split, and of training where these are few: the baseline takes its constants
    and the mean of queries from them. The measure is R@10, or mean average precision where queries are `by_class`.
    """

    source: str
    kind: str
    modality: str
    photos: Sequence[Read]
    test: Sequence[Query]
    others: Sequence[Query] = ()
    by_class: bool = False

    @property
    def name(self) -> str:
        return f"{self.source} {self.kind}"


def source_sets(data: Path) -> Iterator[SourceSet]:
    """Yield the sets of the packs in the folder `data`. Raises `SourceUnavailable`."""
    for name in ("flickr8k", "coco", "fsa-colour"):
        yield caption_set(CaptionsSource(name, PackOptions(path=data / "captions", of=(name,))))
    yield _sketches(SketchesSource("sketchy", PackOptions(path=data / "sketches", of=("sketchy",)), _SHEET))
    photos = PhotosSource("photos", PhotosOptions(path=data / "photos"))
    yield _drawings(SketchesSource("quickdraw", PackOptions(path=data / "sketches", of=("quickdraw",)), _SHEET), photos)
    nyu = MeasuredSource("nyu-depth-v2", PackOptions(path=data / "depth", of=("nyu-depth-v2",)), "depth")
    yield _maps(nyu, "depth", "depth")
    yield _maps(nyu, "regions", "semseg")
    for name in ("clothing-co-parsing", "coco"):
        pack = PackOptions(path=data / "segmentation", of=(name,))
        yield _maps(MeasuredSource(name, pack, "segmentation"), "regions", "semseg")
    for name in ("caltech101", "clothing-dataset", "grocery-store-dataset"):
        keys = _gallery(photos, [key for key in photos.entries if photos.source_of(key) == name])
        yield _paired(
            photos, keys, lambda key: [partial(edges_of, key, partial(photos.picture, key))], name, "edges", DRAWING
        )


def _gallery(source: PackSource, keys: Sequence[str] | None = None) -> list[str]:
    """At most 1,000 of the keys, or of all of a source: at most 700 of the test split, then the other splits."""
    among = set(source.entries if keys is None else keys)
    chosen: list[str] = []
    for split, most in ((Split.TEST, _TEST), (Split.VAL, _GALLERY), (Split.TRAIN, _GALLERY)):
        own = [key for key in PackSource.keys(source, split) if key in among]
        chosen += sample_evenly(own, min(most, _GALLERY - len(chosen)))
    return chosen


def _paired(
    source: PackSource, keys: Sequence[str], values: Callable[[str], list[Read]], name: str, kind: str, modality: str
) -> SourceSet:
    """Make a set of photos whose own values ask for them."""

    def queries(split: str) -> list[Query]:
        rows = [row for row, key in enumerate(keys) if source.entries[key].metadata["split"] == split]
        return [Query(read, (row,), keys[row]) for row in rows for read in values(keys[row])]

    photos = [partial(source.entries[key].value, "rgb", "webp") for key in keys]
    test, others = queries(Split.TEST), queries(Split.VAL)
    if modality != CAPTION:
        test, others = sample_evenly(test, _TESTED), [*others, *queries(Split.TRAIN)][:_OTHERS]
    return SourceSet(name, kind, modality, photos, test, others)


def caption_set(source: CaptionsSource) -> SourceSet:
    """A text that several photos have is no query; a photo without a text of its own is left out."""
    own, keys = _own_texts_of(source), gallery_of_captions(source)
    return _paired(source, keys, lambda key: [partial(str, text) for text in own[key]], source.name, "caption", CAPTION)


def gallery_of_captions(source: CaptionsSource) -> list[str]:
    """The keys of the photos of `caption_set`, in its order."""
    return _gallery(source, [key for key, texts in _own_texts_of(source).items() if texts])


def _own_texts_of(source: CaptionsSource) -> dict[str, list[str]]:
    return own_texts({key: entry.metadata["captions"] for key, entry in source.entries.items()})


def own_texts(texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The texts by photo that no other photo has; case and full stops do not count."""
    photos = Counter(text for several in texts.values() for text in {*map(_plain, several)})
    return {key: [text for text in several if photos[_plain(text)] == 1] for key, several in texts.items()}


def _plain(text: str) -> str:
    return text.casefold().strip(" .")


def _sketches(source: SketchesSource) -> SourceSet:
    def sketches(key: str) -> list[Read]:
        files = [sketch["file"].removesuffix(".png") for sketch in source.entries[key].metadata["sketches"]]
        return [partial(_value, source, f"{key}/{file}", "line_drawing") for file in files]

    return _paired(source, _gallery(source), sketches, source.name, "sketch", DRAWING)


def _maps(source: MeasuredSource, kind: str, modality: str) -> SourceSet:
    keys = _gallery(source)
    return _paired(source, keys, lambda key: [partial(_value, source, key, modality)], source.name, kind, modality)


def _value(source: SketchesSource | MeasuredSource, key: str, modality: str) -> Any:
    return source.sample(key).values[modality]


def edges_of(key: str, picture: Read) -> Any:
    """Canny edges of a picture, as detailed as the key decides: uint8 (H, W)."""
    return random_canny(picture(), np.random.default_rng(zlib.crc32(key.encode())))


def _drawings(source: SketchesSource, photos: PhotosSource) -> SourceSet:
    """Drawings that should find all photos of their class, test photos of Caltech 101."""
    labels = {key: str(entry.metadata["label"]) for key, entry in source.entries.items()}
    by_class: dict[str, list[str]] = {}
    for key in photos.keys(Split.TEST):
        name = photos.class_of(key)
        if photos.source_of(key) == "caltech101" and name in labels.values():
            by_class.setdefault(str(name), []).append(key)
    shown = [(name, key) for name, keys in sorted(by_class.items()) for key in sample_evenly(keys, _PER_CLASS)]
    right = {name: tuple(row for row, (of, _) in enumerate(shown) if of == name) for name in by_class}

    def queries(split: Split) -> list[Query]:
        keys = [key for key in source.keys(split) if labels[key] in by_class]
        return [Query(partial(_value, source, key, "line_drawing"), right[labels[key]], labels[key]) for key in keys]

    reads = [partial(photos.picture, key) for _, key in shown]
    others = [*queries(Split.VAL), *queries(Split.TRAIN)][:_OTHERS]
    return SourceSet(source.name, "drawing", DRAWING, reads, queries(Split.TEST), others, by_class=True)
