"""Photos with depth or regions measured by people, each told in words by its largest regions' names.

The folder has the packs `depth` and `segmentation`, as the sources of data sets read them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyseek.model.data.samples import DataSample, Split
from anyseek.model.data.sources.packs import MeasuredSource, PackOptions
from anyseek.model.seam import Regions, Sample, Value
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.aligned import evenly

_SOURCES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "nyu-depth-v2": ("depth", ("depth", "semseg")),
    "clothing-co-parsing": ("segmentation", ("semseg",)),
}
_MOST = 600
_NAMED = 3  # the largest regions
_UNNAMED = "other"  # regions with a name such as otherprop say nothing


@dataclass(frozen=True)
class MappedPhotos:
    """Photos of one source by key, their maps by modality, and captions such as `a photo of floor, wall, bed`."""

    source: str
    photos: Mapping[str, Sample]
    maps: Mapping[str, Mapping[str, Value]]
    captions: Mapping[str, str]


def mapped_photos(folder: Path, most: int | None) -> Iterator[MappedPhotos]:
    """Yield at most `most` photos of each source, those of the test split first, because training saw the others.

    Raises `NotAligned` if the folder has none of the packs, `SourceUnavailable` if one cannot be read.
    """
    there = {name: told for name, told in _SOURCES.items() if (folder / told[0]).is_dir()}
    if not there:
        packs = " and ".join(sorted({pack for pack, _ in _SOURCES.values()}))
        raise NotAligned(f"{folder} has none of the folders {packs}; docs/evaluation.md says what they hold")
    for name, (pack, modalities) in there.items():
        source = MeasuredSource(pack, PackOptions(path=folder / pack, of=(name,)), pack)
        yield _of_source(name, source, modalities, min(most or _MOST, _MOST))


def _of_source(name: str, source: MeasuredSource, modalities: Sequence[str], most: int) -> MappedPhotos:
    tested, others = list(source.keys(Split.TEST)), [*source.keys(Split.VAL), *source.keys(Split.TRAIN)]
    keys = [*evenly(tested, most), *evenly(others, max(0, most - len(tested)))]
    samples = {key: source.sample(key) for key in keys}
    told = {key: caption for key, sample in samples.items() if (caption := _caption(sample))}
    return MappedPhotos(
        name,
        {key: Sample({"rgb": sample.values["rgb"]}) for key, sample in samples.items()},
        {modality: {key: sample.values[modality] for key, sample in samples.items()} for modality in modalities},
        told,
    )


def _caption(sample: DataSample) -> str | None:
    """The names of the largest regions; None if none has one."""
    regions = sample.values["semseg"]
    assert isinstance(regions, Regions)
    ids, counts = np.unique(regions.ids, return_counts=True)
    largest = (regions.classes.get(int(one)) for one in ids[np.argsort(-counts, kind="stable")])
    names = [name for name in largest if name and not name.startswith(_UNNAMED)]
    return f"a photo of {', '.join(names[:_NAMED])}" if names else None
