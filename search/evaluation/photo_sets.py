"""The photos suite: queries for labelled photos by their labels' names, and for photos by their own edges.

The photos are those of the source `photos` of data sets (`anyseek.model.data.sources.packs`).
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import PhotosOptions, PhotosSource
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.seam import Sample
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.aligned import AlignedSet, LazySamples, QuerySet, evenly

_TRAINING_PHOTOS, _TRAINING_EDGES = 2_000, 600  # that the ridge is fitted on
_PHOTOS_WITH_EDGES = 1_000
_COLOURS = 5


def photo_sets(folder: Path, most: int | None) -> list[tuple[AlignedSet, AlignedSet | None]]:
    """Return sets of test photos with training photos to fit the ridge on: labelled ones, and up to 1,000 with edges.

    At most `most` photos a set. Raises `NotAligned` if there are no test photos in the shards in `folder`,
    `SourceUnavailable` if there are no shards or they cannot be read.
    """
    photos = PhotosSource("photos", PhotosOptions(path=folder))
    tests, training = photos.keys(Split.TEST), photos.keys(Split.TRAIN)
    if not tests:
        raise NotAligned(f"{folder} has no test photos in its shards; docs/evaluation.md describes the layout")
    with_edges = evenly(tests, min(most or _PHOTOS_WITH_EDGES, _PHOTOS_WITH_EDGES))
    labelled, known = _labelled(photos, tests), _labelled(photos, training)
    return [
        (
            _by_label("photos", photos, evenly(labelled, most)),
            _by_label("photos (train)", photos, evenly(known, _TRAINING_PHOTOS)) if training else None,
        ),
        (
            _by_edges("photo edges", photos, with_edges),
            _by_edges("photo edges (train)", photos, evenly(training, _TRAINING_EDGES)) if training else None,
        ),
    ]


def _labelled(photos: PhotosSource, keys: Sequence[str]) -> list[str]:
    return [key for key in keys if photos.shown_class(key)]


def _by_label(name: str, photos: PhotosSource, keys: Sequence[str]) -> AlignedSet:
    """Make a set whose queries are the bare names of the photos' labels, and people's descriptions if there are any."""
    own = [photos.shown_class(key) for key in keys]
    labels = sorted({label for label in own if label})
    texts = _descriptions(photos)
    described = {label: texts[label] for label in labels if label in texts}
    queries = [_texts("label", {label: label for label in labels})]
    if described:
        queries.append(_texts("description", described))
    return AlignedSet(
        name,
        tuple(keys),
        LazySamples(keys, lambda key: Sample({"rgb": _picture(photos, key)})),
        tuple(frozenset({label} if label else ()) for label in own),
        tuple(queries),
    )


def _descriptions(photos: PhotosSource) -> dict[str, str]:
    """Return a person's description of each class that has one."""
    found = {}
    for split in Split:
        for key in photos.keys(split):
            label, caption = photos.shown_class(key), photos.caption(key)
            if label and caption:
                found[label] = caption
    return found


def _texts(name: str, texts: Mapping[str, str]) -> QuerySet:
    """Make a query set with one text per label, which should find every item with that label."""
    samples = [Sample({"caption": text}) for text in texts.values()]
    return QuerySet(name, "caption", samples, (None,) * len(texts), tuple(frozenset({label}) for label in texts))


def _by_edges(name: str, photos: PhotosSource, keys: Sequence[str]) -> AlignedSet:
    return AlignedSet(name, tuple(keys), LazySamples(keys, lambda key: _edged(photos, key)))


def _edged(photos: PhotosSource, key: str) -> Sample:
    """A photo with its Canny edges, drawn with a seed of its own, and its palette."""
    picture = _picture(photos, key)
    drawn = varied_canny(picture, np.random.default_rng(zlib.crc32(key.encode())))
    return Sample({"rgb": picture, "canny_edge": drawn, "color_palette": palette_of(picture, _COLOURS)})


def _picture(photos: PhotosSource, key: str) -> ByteArray:
    """uint8 (H, W, 3). Raises `SampleInvalid`, which names the photo."""
    try:
        return photos.picture(key)
    except SampleInvalid as error:
        raise SampleInvalid(f"the photo {key} cannot be used: {error}") from error
