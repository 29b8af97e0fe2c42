"""Collections of real photos with captions, sketches, measured maps or edges as queries, from the packs of data sets.

The folder has the packs `captions`, `sketches`, `depth`, `segmentation` and `photos` in sub-folders, as the sources of
data sets read them; missing packs are skipped.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyseek.model.data.aligned import AlignedSet, LazySamples, QuerySet, evenly
from anyseek.model.data.samples import DataSample, Source, Split
from anyseek.model.data.sources.packs import (
    CaptionsSource,
    MeasuredSource,
    PackOptions,
    PhotosOptions,
    PhotosSource,
    SketchesSource,
)
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.seam import Regions, Sample, Value
from anyseek.search.errors import NotAligned

PHOTO, CAPTION, DRAWING = "rgb", "caption", "canny_edge"
_SHEET = 224
_MEASURED: Mapping[str, tuple[str, tuple[str, ...]]] = {  # by source, its pack and its maps
    "nyu-depth-v2": ("depth", ("depth", "semseg")),
    "clothing-co-parsing": ("segmentation", ("semseg",)),
    "coco": ("segmentation", ("semseg",)),
}
_DESCRIBED = ("nyu-depth-v2", "clothing-co-parsing")
_MOST = 600
_NAMED = 3  # the largest regions
_UNNAMED = "other"  # regions with a name such as otherprop say nothing


def photo_collections(folder: Path, most: int) -> Iterator[AlignedSet]:
    """Yield a collection of each source in `folder`: at most `most` photos, and test-split queries for them.

    Raises `NotAligned` if the folder has none of the packs, `SourceUnavailable` if one of them cannot be read.
    """
    there = [(name, make) for name, make in _PACKS.items() if (folder / name).is_dir()]
    if not there:
        raise _no_packs(folder, _PACKS)
    for name, make in there:
        yield from make(folder / name, most)


def _no_packs(folder: Path, packs: Mapping[str, object] | Sequence[str]) -> NotAligned:
    return NotAligned(f"{folder} has none of the folders {', '.join(packs)}; docs/evaluation.md says what they hold")


def _captions(pack: Path, most: int) -> Iterator[AlignedSet]:
    """Yield a seeded choice of the test split as one gallery; every caption is a query, grouped by its source."""
    source = CaptionsSource("captions", PackOptions(path=pack))
    keys = source.keys(Split.TEST)
    order = np.random.default_rng(0).permutation(len(keys))[:most]
    chosen = [keys[place] for place in sorted(order.tolist())]
    texts = defaultdict[str, list[tuple[str, str]]](list)
    for key in chosen:
        sample = source.sample(key)
        texts[sample.attributes["source"]].extend((key, caption.text) for caption in sample.values[CAPTION])
    queries = tuple(
        QuerySet(
            f"{name} captions",
            CAPTION,
            [Sample({CAPTION: text}) for _, text in pairs],
            tuple(key for key, _ in pairs),
        )
        for name, pairs in sorted(texts.items())
    )
    yield _photos("captions", source, chosen, queries)


def _sketches(pack: Path, most: int) -> Iterator[AlignedSet]:
    source = SketchesSource("sketchy", PackOptions(path=pack, of=("sketchy",)), _SHEET)
    photo_of = {key: key.rpartition("/")[0] for split in Split for key in source.keys(split)}
    first = {photo: key for key, photo in reversed(photo_of.items())}  # a sample with each photo
    sketched = evenly(list(source.keys(Split.TEST)), most)
    owners = tuple(first[photo_of[key]] for key in sketched)
    drawings = LazySamples(sketched, lambda key: Sample({DRAWING: source.sample(key).values["line_drawing"]}))
    queries = QuerySet("sketch", DRAWING, drawings, owners)
    yield _photos("sketchy", source, list(dict.fromkeys(owners)), (queries,))


def _maps(pack: Path, most: int) -> Iterator[AlignedSet]:
    """Yield all photos of each source of a pack, with their own maps as queries."""
    for name, (of, modalities) in _MEASURED.items():
        if of != pack.name:
            continue
        source = MeasuredSource(of, PackOptions(path=pack, of=(name,)), of)
        photos = evenly([key for split in Split for key in source.keys(split)], most)
        tested = [key for key in source.keys(Split.TEST) if key in set(photos)]
        queries = tuple(
            QuerySet(modality, modality, LazySamples(tested, _one_map(source, modality)), tuple(tested))
            for modality in modalities
        )
        yield _photos(name, source, photos, queries)


def _edges(pack: Path, most: int) -> Iterator[AlignedSet]:
    """Yield test photos of each source of the labelled ones, with their Canny edges as queries."""
    source = PhotosSource("photos", PhotosOptions(path=pack))
    keys = defaultdict[str, list[str]](list)
    for key in source.keys(Split.TEST):
        keys[source.source_of(key)].append(key)

    def drawn(key: str) -> Sample:
        seed = zlib.crc32(key.encode())
        return Sample({DRAWING: varied_canny(source.sample(key).values[PHOTO], np.random.default_rng(seed))})

    for name, own in sorted(keys.items()):
        chosen = evenly(own, most)
        yield _photos(name, source, chosen, (QuerySet("edges", DRAWING, LazySamples(chosen, drawn), tuple(chosen)),))


_PACKS: Mapping[str, Callable[[Path, int], Iterator[AlignedSet]]] = {
    "captions": _captions,
    "sketches": _sketches,
    "depth": _maps,
    "segmentation": _maps,
    "photos": _edges,
}


def _photos(name: str, source: Source, keys: Sequence[str], queries: tuple[QuerySet, ...]) -> AlignedSet:
    photos = LazySamples(keys, lambda key: Sample({PHOTO: source.sample(key).values[PHOTO]}))
    return AlignedSet(name, tuple(keys), photos, queries=queries)


def _one_map(source: Source, modality: str) -> Callable[[str], Sample]:
    return lambda key: Sample({modality: source.sample(key).values[modality]})


@dataclass(frozen=True)
class MappedPhotos:
    """Photos of one source by key, their maps by modality, and captions such as `a photo of floor, wall, bed`."""

    source: str
    photos: Mapping[str, Sample]
    maps: Mapping[str, Mapping[str, Value]]
    captions: Mapping[str, str]


def mapped_photos(folder: Path, most: int | None) -> Iterator[MappedPhotos]:
    """Yield at most `most` photos with measured maps of each source, each described by its largest regions' names.

    Those of the test split come first, because training saw the others. Raises `NotAligned` if the folder has neither
    of the packs `depth` and `segmentation`, `SourceUnavailable` if one cannot be read.
    """
    there = [name for name in _DESCRIBED if (folder / _MEASURED[name][0]).is_dir()]
    if not there:
        raise _no_packs(folder, [_MEASURED[name][0] for name in _DESCRIBED])
    count = min(most or _MOST, _MOST)
    for name in there:
        pack, modalities = _MEASURED[name]
        source = MeasuredSource(pack, PackOptions(path=folder / pack, of=(name,)), pack)
        tested, others = list(source.keys(Split.TEST)), [*source.keys(Split.VAL), *source.keys(Split.TRAIN)]
        keys = [*evenly(tested, count), *evenly(others, max(0, count - len(tested)))]
        samples = {key: source.sample(key) for key in keys}
        yield MappedPhotos(
            name,
            {key: Sample({PHOTO: sample.values[PHOTO]}) for key, sample in samples.items()},
            {modality: {key: sample.values[modality] for key, sample in samples.items()} for modality in modalities},
            {key: caption for key, sample in samples.items() if (caption := _caption(sample))},
        )


def _caption(sample: DataSample) -> str | None:
    """The names of the largest regions; None if none has one."""
    regions = sample.values["semseg"]
    assert isinstance(regions, Regions)
    ids, counts = np.unique(regions.ids, return_counts=True)
    largest = (regions.classes.get(int(number)) for number in ids[np.argsort(-counts, kind="stable")])
    names = [name for name in largest if name and not name.startswith(_UNNAMED)]
    return f"a photo of {', '.join(names[:_NAMED])}" if names else None
