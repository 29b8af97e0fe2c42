"""The sets of the transfer suite: real photos, with captions, sketches, depth, regions and edges as queries.

Each set comes from one source, so training can leave it out. The folder has the packs `captions`, `sketches`, `depth`,
`segmentation` and `photos` in sub-folders, as the sources of data sets read them; missing packs are skipped.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyseek.model.data.samples import DataSample, Source, Split
from anyseek.model.data.sources.packs import (
    CaptionsSource,
    MeasuredSource,
    PackOptions,
    PhotosOptions,
    PhotosSource,
    SketchesSource,
)
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.seam import Sample, Value
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.aligned import AlignedSet, LazySamples, QuerySet, evenly

PHOTO, CAPTION, DRAWING = "rgb", "caption", "canny_edge"
EVERY = "all"  # of the sources that are left out
_CAPTIONED = 1_000  # photos of the captions' test split, drawn by a seed
_EDGED = 1_000  # photos of each source with edges
_A_CLASS = 20  # photos of a class that a drawing of it should find
_SHEET = 224


@dataclass(frozen=True)
class TransferSet:
    """Photos of `source` and queries of one or more kinds for them; `whole` if all of its queries are asked.

    A source that may have been trained on has only the queries of its test split. With `by_label`, a query should find
    all photos of its class and the measure is mean average precision, else R@10.
    """

    source: str
    aligned: AlignedSet
    whole: bool
    by_label: bool = False


def transfer_sets(folder: Path, left_out: Collection[str], most: int | None) -> Iterator[TransferSet]:
    """Yield the sets of all packs in `folder`, with at most `most` photos and `most` queries of a kind in each.

    `left_out` names sources not used in training (`EVERY` for all), whose splits are all used as queries. Raises
    `NotAligned` if the folder has none of the packs, `SourceUnavailable` if one of them cannot be read.
    """
    there = [(name, make) for name, make in _MAKERS.items() if (folder / name).is_dir()]
    if not there:
        raise NotAligned(
            f"{folder} has none of the folders {', '.join(_MAKERS)}; docs/evaluation.md says what they hold"
        )

    def is_whole(source: str) -> bool:
        return EVERY in left_out or source in left_out

    for _, make in there:
        yield from make(folder, is_whole, most)


IsWhole = Callable[[str], bool]


def _captions(folder: Path, is_whole: IsWhole, most: int | None) -> Iterator[TransferSet]:
    """Yield a seeded choice of the test split as one gallery; every caption is a query, grouped by its source."""
    source = CaptionsSource("captions", PackOptions(path=folder / "captions"))
    keys = source.keys(Split.TEST)
    order = np.random.default_rng(0).permutation(len(keys))[: min(most or _CAPTIONED, _CAPTIONED)]
    chosen = [keys[place] for place in sorted(order.tolist())]
    texts = defaultdict[str, list[tuple[str, str]]](list)
    for key in chosen:
        sample = source.sample(key)
        texts[sample.attributes["source"]].extend((key, one.text) for one in sample.values[CAPTION])
    queries = tuple(
        QuerySet(
            f"{name} captions",
            CAPTION,
            [Sample({CAPTION: text}) for _, text in asked],
            tuple(key for key, _ in asked),
        )
        for name, asked in sorted(texts.items())
    )
    yield TransferSet("captions", _photos("captions", source, chosen, queries), False)


def _sketches(folder: Path, is_whole: IsWhole, most: int | None) -> Iterator[TransferSet]:
    path = folder / "sketches"
    paired = SketchesSource("sketchy", PackOptions(path=path, of=("sketchy",)), _SHEET)
    photo_of = {key: key.rpartition("/")[0] for split in Split for key in paired.keys(split)}
    first = {photo: key for key, photo in reversed(photo_of.items())}  # a sample with each photo
    asking = evenly(_asking(paired, is_whole("sketchy")), most)
    owners = tuple(first[photo_of[key]] for key in asking)
    photos = list(first.values()) if most is None else list(dict.fromkeys(owners))
    sketches = QuerySet("sketch", DRAWING, LazySamples(asking, lambda key: _drawing(paired.sample(key))), owners)
    yield TransferSet("sketchy", _photos("sketchy", paired, photos, (sketches,)), is_whole("sketchy"))
    yield from _drawings(folder, is_whole, most, paired, list(first.values()))


def _drawings(
    folder: Path, is_whole: IsWhole, most: int | None, paired: SketchesSource, photos: Sequence[str]
) -> Iterator[TransferSet]:
    """Strokes that ask for all photos of their class: Sketchy's photos, and test photos of `photos` if it is there."""
    source = SketchesSource("quickdraw", PackOptions(path=folder / "sketches", of=("quickdraw",)), _SHEET)
    drawn = {key: _label(source.sample(key)) for key in _asking(source, is_whole("quickdraw"))}
    things: dict[str, tuple[str, Callable[[], Sample]]] = {}
    for key in photos:
        sample = paired.sample(key)
        if _label(sample) in drawn.values():
            things[f"sketchy/{key}"] = _label(sample), _reading(paired, key)
    if (folder / "photos").is_dir():
        things |= _labelled_photos(folder / "photos", frozenset(drawn.values()))
    kept = evenly(list(things), most)
    known = {things[key][0] for key in kept}
    asking = evenly([key for key, label in drawn.items() if label in known], most)
    queries = QuerySet(
        "drawing",
        DRAWING,
        LazySamples(asking, lambda key: _drawing(source.sample(key))),
        (None,) * len(asking),
        tuple(frozenset({drawn[key]}) for key in asking),
    )
    aligned = AlignedSet(
        "quickdraw",
        tuple(kept),
        LazySamples(kept, lambda key: things[key][1]()),
        tuple(frozenset({things[key][0]}) for key in kept),
        (queries,),
    )
    yield TransferSet("quickdraw", aligned, is_whole("quickdraw"), by_label=True)


def _labelled_photos(folder: Path, labels: Collection[str]) -> dict[str, tuple[str, Callable[[], Sample]]]:
    """At most 20 test photos of each class that somebody drew."""
    photos = PhotosSource("photos", PhotosOptions(path=folder, labelled=True))
    found = defaultdict[str, list[str]](list)
    for key in photos.keys(Split.TEST):
        if (label := photos.shown_class(key)) in labels and label:
            found[label].append(key)
    return {
        f"photos/{key}": (label, _reading(photos, key))
        for label, keys in sorted(found.items())
        for key in evenly(keys, _A_CLASS)
    }


def _depth(folder: Path, is_whole: IsWhole, most: int | None) -> Iterator[TransferSet]:
    source = MeasuredSource("depth", PackOptions(path=folder / "depth", of=("nyu-depth-v2",)), "depth")
    yield _mapped("nyu-depth-v2", source, ("depth", "semseg"), is_whole, most)


def _segmentation(folder: Path, is_whole: IsWhole, most: int | None) -> Iterator[TransferSet]:
    for name in ("clothing-co-parsing", "coco"):
        source = MeasuredSource("segmentation", PackOptions(path=folder / "segmentation", of=(name,)), "segmentation")
        yield _mapped(name, source, ("semseg",), is_whole, most)


def _mapped(
    name: str, source: MeasuredSource, modalities: Sequence[str], is_whole: IsWhole, most: int | None
) -> TransferSet:
    """Make a set of all photos of a source, with their own maps as queries."""
    photos = evenly([key for split in Split for key in source.keys(split)], most)
    asking = [key for key in _asking(source, is_whole(name)) if key in set(photos)]
    queries = tuple(
        QuerySet(modality, modality, LazySamples(asking, _one_map(source, modality)), tuple(asking))
        for modality in modalities
    )
    return TransferSet(name, _photos(name, source, photos, queries), is_whole(name))


def _edges(folder: Path, is_whole: IsWhole, most: int | None) -> Iterator[TransferSet]:
    """Yield test photos of each source of the labelled ones, with their Canny edges as queries."""
    source = PhotosSource("photos", PhotosOptions(path=folder / "photos"))
    keys = defaultdict[str, list[str]](list)
    for key in source.keys(Split.TEST):
        keys[source.source_of(key)].append(key)
    for name, own in sorted(keys.items()):
        chosen = evenly(own, min(most or _EDGED, _EDGED))
        edges = LazySamples(chosen, lambda key: edges_of(key, source.sample(key).values[PHOTO]))
        queries = QuerySet("edges", DRAWING, edges, tuple(chosen))
        yield TransferSet(name, _photos(name, source, chosen, (queries,)), is_whole(name))


_MAKERS: Mapping[str, Callable[[Path, IsWhole, int | None], Iterator[TransferSet]]] = {
    "captions": _captions,
    "sketches": _sketches,
    "depth": _depth,
    "segmentation": _segmentation,
    "photos": _edges,
}


def _asking(source: Source, whole: bool) -> list[str]:
    return [key for split in (Split if whole else (Split.TEST,)) for key in source.keys(split)]


def _photos(name: str, source: Source, keys: Sequence[str], queries: tuple[QuerySet, ...]) -> AlignedSet:
    return AlignedSet(name, tuple(keys), LazySamples(keys, lambda key: _photo(source.sample(key))), queries=queries)


def _photo(sample: DataSample) -> Sample:
    return Sample({PHOTO: sample.values[PHOTO]})


def _reading(source: Source, key: str) -> Callable[[], Sample]:
    return lambda: _photo(source.sample(key))


def _drawing(sample: DataSample) -> Sample:
    return Sample({DRAWING: sample.values["line_drawing"]})


def edges_of(key: str, picture: ByteArray) -> Sample:
    """Draw a picture's Canny edges with the key as the seed of how."""
    drawn: Value = varied_canny(picture, np.random.default_rng(zlib.crc32(key.encode())))
    return Sample({DRAWING: drawn})


def _one_map(source: Source, modality: str) -> Callable[[str], Sample]:
    return lambda key: Sample({modality: source.sample(key).values[modality]})


def _label(sample: DataSample) -> str:
    return str(sample.attributes["label"])
