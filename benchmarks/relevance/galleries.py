"""Labelled photos of one source each, and drawings and captions that ask for photos, as vectors of a space."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.sources.packs import (
    CaptionsSource,
    MeasuredSource,
    PackOptions,
    PhotosOptions,
    PhotosSource,
    SketchesSource,
)
from anyseek.model.seam import Embedder, FloatArray, Sample

SPACE = "photo_global"
_GALLERY, _QUERIES, _DRAWINGS = 1_000, 200, 600  # the most of a source
_MIN_SHARE = 0.01  # of a photo's pixels, for an object to be in it
_SHEET = 224
Read = Callable[[], Any]
Labels = Sequence[frozenset[str]]


@dataclass(frozen=True)
class Vectors:
    """Raw vectors (n, d) of things, and the labels of each."""

    rows: FloatArray
    labels: Labels

    def of(self, places: Sequence[int] | np.ndarray) -> "Vectors":
        return Vectors(self.rows[places], [self.labels[place] for place in places])


@dataclass(frozen=True)
class LabelledSource:
    """A gallery, and pictures of the same source that are not in it; none where photos show several objects."""

    name: str
    gallery: Vectors
    pictures: Vectors | None

    @property
    def names(self) -> list[str]:
        return sorted(frozenset().union(*self.gallery.labels))


class Vectorizer:
    """Embeds values in the space for photos of a model; with a folder `cache`, once."""

    def __init__(self, embedder: Embedder, cache: Path | None) -> None:
        self._embedder, self._cache, self.space = embedder, cache, embedder.spaces[SPACE]

    def vectors(self, name: str, modality: str, reads: Sequence[Read], as_items: bool = False) -> FloatArray:
        """The raw vectors (n, d) of values, in 64 at a time."""
        path = None if self._cache is None else self._cache / f"{self._embedder.name} {name}.npy"
        if path is not None and path.is_file():
            stored: FloatArray = np.load(path)
            return stored
        embed = self._embedder.embed_gallery if as_items else self._embedder.embed
        batches = [reads[start : start + 64] for start in range(0, len(reads), 64)]
        rows = np.concatenate(
            [embed([Sample({modality: read()}) for read in batch], [SPACE])[SPACE] for batch in batches]
        )
        if path is not None:
            np.save(path, rows)
        return rows


def labelled_sources(data: Path, vectorizer: Vectorizer) -> Iterator[LabelledSource]:
    """Yield the sources with classes, then those with objects. Raises `SourceUnavailable`."""
    photos = PhotosSource("photos", PhotosOptions(path=data / "photos", labelled=True))
    for name in ("caltech101", "clothing-dataset", "grocery-store-dataset"):
        keys = [key for key in photos.entries if photos.source_of(key) == name]
        yield _with_classes(name, {key: photos.entries[key] for key in keys}, vectorizer)
    sketchy = SketchesSource("sketchy", PackOptions(path=data / "sketches", of=("sketchy",)), _SHEET)
    yield _with_classes("sketchy", sketchy.entries, vectorizer)
    for name, pack, of in (
        ("ccp", "segmentation", "clothing-co-parsing"),
        ("coco", "segmentation", "coco"),
        ("nyu", "depth", "nyu-depth-v2"),
    ):
        yield _with_objects(name, MeasuredSource(name, PackOptions(path=data / pack, of=(of,)), pack), vectorizer)


def _with_classes(name: str, entries: Mapping[str, Any], vectorizer: Vectorizer) -> LabelledSource:
    """The photos of classes, a fifth of which, but at most 200, ask for the others."""
    keys = sample_evenly(sorted(entries), _GALLERY + _QUERIES)
    keys = [keys[place] for place in np.random.default_rng(0).permutation(len(keys))]
    asking, listed = keys[: min(_QUERIES, len(keys) // 5)], keys[min(_QUERIES, len(keys) // 5) :]

    def vectors(keys: Sequence[str], side: str) -> Vectors:
        reads = [partial(entries[key].value, "rgb", "webp") for key in keys]
        labels = [_class_labels(entries[key].metadata) for key in keys]
        return Vectors(vectorizer.vectors(f"{name} {side}", "rgb", reads, side == "gallery"), labels)

    return LabelledSource(name, vectors(listed, "gallery"), vectors(asking, "pictures"))


def _class_labels(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The class and what it is a kind of: a Royal Gala is an apple."""
    labels = (metadata["label"], metadata.get("coarse_label"))
    return frozenset(str(label).casefold().replace("-", " ").replace("_", " ") for label in labels if label)


def _with_objects(name: str, source: MeasuredSource, vectorizer: Vectorizer) -> LabelledSource:
    keys = sample_evenly(sorted(source.entries), _GALLERY)
    labels = []
    for key in keys:
        regions = source.sample(key).values["semseg"]
        ids, counts = np.unique(regions.ids, return_counts=True)
        shown = ids[counts >= _MIN_SHARE * regions.ids.size]
        labels.append(frozenset(regions.classes[id_].casefold() for id_ in shown.tolist() if id_ in regions.classes))
    reads = [partial(source.entries[key].value, "rgb", "webp") for key in keys]
    return LabelledSource(name, Vectors(vectorizer.vectors(f"{name} gallery", "rgb", reads, True), labels), None)


def names_as_queries(names: Sequence[str], vectorizer: Vectorizer) -> FloatArray:
    """Raw vectors (n, d) of names, every second one with an article."""
    texts = [f"a {name}" if place % 2 else name for place, name in enumerate(names)]
    return vectorizer.vectors(f"names {len(names)}", "caption", [partial(str, text) for text in texts])


def drawings(data: Path, vectorizer: Vectorizer) -> Iterator[tuple[str, Vectors]]:
    """Yield the drawings of both sources, labelled with their class."""
    for name in ("sketchy", "quickdraw"):
        source = SketchesSource(name, PackOptions(path=data / "sketches", of=(name,)), _SHEET)
        keys = sample_evenly([key for split in ("test", "val", "train") for key in source.keys(split)], _DRAWINGS)
        samples = [source.sample(key) for key in keys]
        reads = [partial(np.asarray, sample.values["line_drawing"]) for sample in samples]
        labels = [frozenset({str(sample.attributes["label"]).casefold()}) for sample in samples]
        yield name, Vectors(vectorizer.vectors(f"{name} drawings", "canny_edge", reads), labels)


def judged_captions(
    data: Path, judgements: Path, vectorizer: Vectorizer
) -> Iterator[tuple[FloatArray, FloatArray, list[bool]]]:
    """Yield the raw vector (1, d) of each judged caption, those of its hits (n, d), and which of these are right."""
    pairs = json.loads(judgements.read_text())["pairs"]
    source = CaptionsSource("captions", PackOptions(path=data / "captions"))
    entries = {entry.metadata["id"]: entry for entry in source.entries.values()}
    texts = [partial(str, entries[pair["caption_of"]].metadata["captions"][0]) for pair in pairs]
    hits = [partial(entries[hit].value, "rgb", "webp") for pair in pairs for hit in pair["hits"]]
    queries = vectorizer.vectors("judged captions", "caption", texts)
    items, start = vectorizer.vectors("judged hits", "rgb", hits, True), 0
    for pair, query in zip(pairs, queries, strict=True):
        end = start + len(pair["hits"])
        yield query[np.newaxis], items[start:end], [grade > 0 for grade in pair["grades"]]
        start = end
