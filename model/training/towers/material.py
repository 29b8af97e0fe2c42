"""The data that towers are fitted to: folders of features (`model.training.towers.features`), less excluded sources."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.encoders.efficientnet import CHANNELS, conse
from anyseek.model.towers.space import CONSE_TEMPERATURE, Seen
from anyseek.model.training.towers.features import Described, read_files

PHOTO = "rgb"
DRAWN = "canny_edge"  # the modality by which any drawing asks
MODALITIES: Mapping[str, str] = {
    "line_drawing": DRAWN,
    "canny_edge": DRAWN,
    "depth": "depth",
    "normal": "normal",
    "semseg": "semseg",
    "bounding_boxes": "bounding_boxes",
    "color_palette": "color_palette",
}
OPEN = "open"
_SEEN = ("pooled", "peak", "places", "logits")


@dataclass(frozen=True)
class Choice:
    """Which samples to use: none of the sources `left_out`, and with `open_only` none that are for research alone."""

    left_out: frozenset[str] = frozenset()
    open_only: bool = False

    def takes(self, one: Described) -> bool:
        """Whether a sample is used; what has no licence class is open."""
        open_class = one.attributes.get("licence_class", OPEN) == OPEN
        return source_of(one) not in self.left_out and (open_class or not self.open_only)


@dataclass(frozen=True)
class Captions:
    """Captions of photos: unit `vectors` (m, 384), and for each the number of its photo and of its source."""

    vectors: Tensor
    photo: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rendered:
    """Drawings or maps of one source: what is `seen` of them (m), and of the photos that `paired` of them show.

    `paired` int64 (k,) are rows of `seen`, `photos` float16 (k, 1280) the pooled vectors of their photos.
    """

    seen: Seen
    paired: Tensor
    photos: Tensor


@dataclass(frozen=True)
class Material:
    """Photos (n), captions, and the looks of drawings and maps by modality and source.

    Photos of equal `thing` int64 (n,) show the same picture, such as one that was stretched. `sources` are the names
    that numbers stand for.
    """

    photos: Seen
    thing: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    captions: Captions
    rendered: Mapping[str, Mapping[str, Rendered]]
    sources: tuple[str, ...]


def source_of(one: Described) -> str:
    """Whose sample it is: its own word, else the recipe's name of the source."""
    return str(one.attributes.get("source", one.key.partition("/")[0]))


def thing_of(one: Described) -> str:
    """What a picture shows: the photo that it is a copy of, the concept that vendors draw, else itself."""
    told = one.attributes
    return str(told.get("id", told.get("concept", one.key)))


def read_material(folders: Sequence[Path], choice: Choice, classes: Tensor, split: Split = Split.TRAIN) -> Material:
    """A split of all folders. `classes` (1000, 384) are the sentences of ConSE. Raises `ValueError`."""
    gathered = _Gathered(classes)
    for folder in folders:
        for described, arrays in read_files(folder, split):
            kept = [row for row, one in enumerate(described) if choice.takes(one)]
            if kept:
                gathered.add(described, arrays, kept)
    return gathered.material()


class _Gathered:
    def __init__(self, classes: Tensor) -> None:
        self._classes = classes
        self._photos: list[Seen] = []
        self._things: list[str] = []
        self._sources: list[str] = []
        self._vectors: list[Tensor] = []
        self._owners: list[int] = []
        self._rendered: dict[tuple[str, str], list[Rendered]] = {}

    def add(self, described: Sequence[Described], arrays: Mapping[str, Tensor], kept: Sequence[int]) -> None:
        """The samples of one file that are used."""
        self._add_rendered(described, arrays, kept)
        pictured = _present(arrays, PHOTO, kept)
        first = len(self._things)
        place = {row: first + number for number, row in enumerate(pictured)}
        if not pictured:
            return
        self._photos.append(self._seen(arrays, PHOTO, pictured))
        self._things += [f"{source_of(described[row])}/{thing_of(described[row])}" for row in pictured]
        self._sources += [source_of(described[row]) for row in pictured]
        if "caption/owner" in arrays:
            owners = arrays["caption/owner"].tolist()
            used = [number for number, owner in enumerate(owners) if owner in place]
            self._vectors.append(arrays["caption/vectors"][used].float())
            self._owners += [place[owners[number]] for number in used]

    def _add_rendered(self, described: Sequence[Described], arrays: Mapping[str, Tensor], kept: Sequence[int]) -> None:
        for stored, modality in MODALITIES.items():
            for source, rows in _by_source(described, _present(arrays, stored, kept)):
                found = self._rendered.setdefault((modality, f"{source}/{stored}"), [])
                pooled = arrays.get(f"{PHOTO}/pooled", torch.zeros(len(described), CHANNELS))[rows]
                paired = pooled.any(dim=1).nonzero()[:, 0]
                found.append(Rendered(self._seen(arrays, stored, rows), paired, pooled[paired]))

    def _seen(self, arrays: Mapping[str, Tensor], modality: str, rows: Sequence[int]) -> Seen:
        pooled, peak, places, logits = (arrays[f"{modality}/{name}"][list(rows)] for name in _SEEN)
        return Seen(pooled, peak, places, conse(logits.float(), self._classes, CONSE_TEMPERATURE))

    def material(self) -> Material:
        """All that was added. Raises `ValueError` if there are no photos or no captions."""
        if not self._photos or not self._vectors:
            raise ValueError("the folders have no photos with captions among the sources that are used")
        _, things = np.unique(self._things, return_inverse=True)
        names, sources = np.unique(self._sources, return_inverse=True)
        owners = np.array(self._owners, np.int64)
        captions = Captions(torch.cat(self._vectors), owners, sources[owners])
        rendered: dict[str, dict[str, Rendered]] = {}
        for (modality, source), parts in sorted(self._rendered.items()):
            rendered.setdefault(modality, {})[source] = _together(parts)
        return Material(joined(self._photos), things, sources, captions, rendered, tuple(names.tolist()))


def joined(parts: Sequence[Seen]) -> Seen:
    """Several batches as one."""
    return Seen(*(torch.cat([getattr(one, name) for one in parts]) for name in ("pooled", "peak", "parts", "words")))


def _together(parts: Sequence[Rendered]) -> Rendered:
    """Several batches of one source as one."""
    firsts = np.cumsum([0, *(len(part.seen.pooled) for part in parts)])
    paired = [part.paired + int(first) for part, first in zip(parts, firsts[:-1], strict=True)]
    return Rendered(joined([part.seen for part in parts]), torch.cat(paired), torch.cat([p.photos for p in parts]))


def _present(arrays: Mapping[str, Tensor], modality: str, kept: Sequence[int]) -> list[int]:
    """Which of the rows have a modality whose places are known."""
    if any(f"{modality}/{name}" not in arrays for name in _SEEN):
        return []
    there = arrays[f"{modality}/pooled"].any(dim=1)
    return [row for row in kept if there[row]]


def _by_source(described: Sequence[Described], rows: Collection[int]) -> Iterator[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(source_of(described[row]), []).append(row)
    yield from found.items()
