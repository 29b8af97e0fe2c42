"""Packs: tar shards of photos, sketches and maps whose samples state their source, licence and split.

The shards are `NAME-open-*.tar` and `NAME-research-*.tar`; the licence class says whether samples may be redistributed
(open) or are only for non-commercial research (research). Each sample has a `KEY.json` with `id`, `source`, `license`,
`split`, `width` and `height`. The packs:

- `captions`: a photo `KEY.webp` and its `captions`, written by people.
- `sketches`: strokes of Quick, Draw! without a picture (open), or photos with their sketches (research).
- `depth`, `segmentation`: a photo, `KEY.depth.png` in 16-bit millimetres (0 for unmeasured pixels) and
  `KEY.semseg.png` in 8-bit ids. The `classes.json` next to the shards names each source's ids; 0 has no name.
- `photos`: shards `photos-*.tar` without a class, with a label and sometimes a caption.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from anyseek.model.config import Config
from anyseek.model.data.contents import read_value
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Split
from anyseek.model.data.sources.shards import Member, describe, find_shards, list_members
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import Regions

LICENCES: Mapping[str, str] = {
    "captions": (
        "open: FSA/OWI and DOCUMERICA photographs (US government, no known restrictions), COCO photos CC BY 2.0 and "
        "CC BY-SA 2.0 with captions CC BY 4.0 (COCO Consortium); research: Flickr8k (Hodosh, Young, Hockenmaier) and "
        "COCO photos under other licences, non-commercial research only"
    ),
    "sketches": (
        "open: The Quick, Draw! Dataset (Google), CC BY 4.0; research: The Sketchy Database (Sangkloy, Burnell, Ham, "
        "Hays), licence unclear, research only"
    ),
    "depth": (
        "NYU Depth v2 (Silberman, Hoiem, Kohli, Fergus) and peach-rgbd (tsing-luo), no licence found, research only"
    ),
    "segmentation": (
        "open: Clothing Co-Parsing (Yang, Luo, Lin), Apache-2.0, COCO photos CC BY 2.0 and CC BY-SA 2.0 with "
        "annotations CC BY 4.0 (COCO Consortium); research: COCO photos under non-commercial licences"
    ),
    "photos": (
        "Caltech 101 (Li, Andreeto, Ranzato, Perona), CC BY 4.0; Clothing dataset (alexeygrigorev), CC0 1.0; "
        "Grocery Store Dataset (Klasson, Zhang, Kjellström), MIT"
    ),
}
_REQUIRED = ("id", "source", "license", "split", "width", "height")
_MILLIMETRES = 1000.0
_VOID = 0  # the id of unlabelled pixels
_EXTENT = 256  # coordinates of strokes are 0 to 255
_MARGIN = 0.04  # of the sheet's side
_PEN = 1 / 64  # of the sheet's side
_OVERSAMPLING = 2  # strokes are drawn at this multiple and scaled down, for antialiasing
_NO_CLASS = frozenset({"not sure", "skip", "other", "background google"})  # labels of photos
_CLASS_ALIASES = {"faces easy": "faces"}  # the same photos, cropped


class PackOptions(Config):
    """`path` is the folder of the shards; `classes` are the licence classes to use.

    `of` keeps only samples of these sources, or all if it is empty.
    """

    path: Path
    classes: Literal["all", "open", "research"] = "all"
    of: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackEntry:
    """One sample of a pack: its files by ending, the metadata of its `.json`, and its licence class, if any."""

    files: Mapping[str, Member]
    metadata: Mapping[str, Any]
    licence_class: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of every sample: source, licence, licence class, id, and the original's size in pixels."""
        return {
            "source": self.metadata["source"],
            "licence": self.metadata["license"],
            **({"licence_class": self.licence_class} if self.licence_class else {}),
            "id": self.metadata["id"],
            "original_width": self.metadata["width"],
            "original_height": self.metadata["height"],
        }

    def value(self, field: str, ending: str) -> Any:
        """The value in the file with this ending. Raises `SampleInvalid` if there is none."""
        name = self.metadata.get("id", "a sample")
        if ending not in self.files:
            raise SampleInvalid(f"{name} has no .{ending}")
        return read_value(field, self.files[ending].read(), f"the {field} of {name}")


class PackSource:
    """A source of a pack's samples, with keys `open/NUMBER` and `research/NUMBER`; subclasses decode them."""

    def __init__(self, name: str, pack: str, options: PackOptions) -> None:
        """Read the metadata of every sample. Raises `SourceUnavailable`."""
        self.name, self.licence = name, LICENCES[pack]
        self.entries: dict[str, PackEntry] = {}
        for licence_class in ("open", "research") if options.classes == "all" else (options.classes,):
            pattern = options.path / f"{pack}-{licence_class}-*.tar"
            if options.classes == "all" and not any(options.path.glob(pattern.name)):
                continue
            for key, entry in _entries(pattern, licence_class).items():
                if not options.of or entry.metadata["source"] in options.of:
                    self.entries[f"{licence_class}/{key}"] = entry
        if not self.entries:
            raise SourceUnavailable(
                f"{options.path} has no sample of the kind {pack} for these options; check path, classes and of"
            )
        self.origin = f"{pack}, {describe({key: entry.files for key, entry in self.entries.items()})}"

    def keys(self, split: Split) -> Sequence[str]:
        """The keys of a split, sorted."""
        return [key for key, entry in self.entries.items() if entry.metadata["split"] == split]


def _entries(pattern: Path, licence_class: str, required: Sequence[str] = _REQUIRED) -> dict[str, PackEntry]:
    """The samples of the shards. Raises `SourceUnavailable` for one without a split or a `required` member."""
    entries = {}
    for key, files in list_members(find_shards(pattern)).items():
        try:
            metadata: dict[str, Any] = json.loads(files["json"].read())
            if missing := [name for name in required if name not in metadata]:
                raise SourceUnavailable(f"the .json of sample {key} has no {missing[0]}")
            Split(metadata["split"])
        except (KeyError, ValueError, TypeError, SampleInvalid) as error:
            raise SourceUnavailable(f"sample {key} has no .json with its split: {error!r}") from error
        entries[key] = PackEntry(files, metadata, licence_class)
    return entries


class CaptionsSource(PackSource):
    """A source of photos with all of their captions; the attribute `aspect` marks those squashed to squares."""

    def __init__(self, name: str, options: PackOptions) -> None:
        super().__init__(name, "captions", options)

    def sample(self, key: str) -> DataSample:
        """The sample with this key. Raises `SampleInvalid` if it cannot be read."""
        entry = self.entries[key]
        texts: Any = entry.metadata.get("captions")
        if not isinstance(texts, list) or not texts or any(not isinstance(it, str) or not it.strip() for it in texts):
            raise SampleInvalid(f"{entry.metadata['id']} has no list of captions in its .json")
        captions = tuple(Caption(text.strip(), Origin.HUMAN) for text in texts)
        attributes = {"medium": "photo", "aspect": entry.metadata.get("aspect", "native"), **entry.attributes}
        return DataSample(key, {"rgb": entry.value("rgb", "webp"), "caption": captions}, attributes)


class SketchesSource(PackSource):
    """A source of sketches: keys `open/NUMBER` without a photo, `research/NUMBER/SKETCH` of a photo and a sketch.

    All have `label` and `concept`. The concept of Sketchy is the photo, so its sketches count as equally right.
    """

    def __init__(self, name: str, options: PackOptions, side: int) -> None:
        """Draw strokes on sheets of `side` pixels. Raises `SourceUnavailable`."""
        super().__init__(name, "sketches", options)
        self._side = side
        self.origin = f"{self.origin}, drawn at {side}"

    def keys(self, split: Split) -> Sequence[str]:
        """The keys of a split, sorted."""
        keys: list[str] = []
        for key in super().keys(split):
            sketches = self.entries[key].metadata.get("sketches")
            keys += [key] if sketches is None else [f"{key}/{it['file'].removesuffix('.png')}" for it in sketches]
        return keys

    def sample(self, key: str) -> DataSample:
        """The sample with this key. Raises `SampleInvalid` if it cannot be read."""
        if key in self.entries:
            entry = self.entries[key]
            strokes = entry.metadata.get("drawing")
            if not strokes or any(len(stroke) != 2 or len(stroke[0]) != len(stroke[1]) for stroke in strokes):
                raise SampleInvalid(f"{entry.metadata['id']} has no strokes with an x and a y for each point")
            values = {"line_drawing": render_strokes(strokes, self._side)}
        else:
            photo_key, _, number = key.rpartition("/")
            entry = self.entries[photo_key]
            paper = entry.value("line_drawing", f"{number}.png")
            values = {"rgb": entry.value("rgb", "webp"), "line_drawing": 255 - paper}
        medium = "photo" if "rgb" in values else "sketch"
        names = {"medium": medium, "label": entry.metadata["label"], "concept": entry.metadata["id"]}
        return DataSample(key, values, {**names, **entry.attributes})


def render_strokes(strokes: Sequence[Sequence[Sequence[float]]], side: int, pen_width: float = _PEN) -> ByteArray:
    """Strokes centred on a sheet: uint8 (side, side), ink is 255.

    A stroke is a list of x and one of y, 0 to 255, y downwards. All drawings have the same scale. The width of the pen
    is a share of the side.
    """
    large = side * _OVERSAMPLING
    scale = large * (1 - 2 * _MARGIN) / _EXTENT
    extents = [max((max(axis) for axis in (stroke[n] for stroke in strokes) if axis), default=0.0) for n in (0, 1)]
    shift = [(large - scale * extent) / 2 for extent in extents]
    sheet = Image.new("L", (large, large), 0)
    pen = ImageDraw.Draw(sheet)
    width = max(1, round(large * pen_width))
    for x, y in strokes:
        points = [(a * scale + shift[0], b * scale + shift[1]) for a, b in zip(x, y, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=255, width=width, joint="curve")
        for a, b in points[:: max(1, len(points) - 1)]:  # round ends, and strokes of one point
            pen.ellipse((a - width / 2, b - width / 2, a + width / 2, b + width / 2), fill=255)
    return np.asarray(sheet.resize((side, side), Image.Resampling.BOX))


class MeasuredSource(PackSource):
    """A source of photos with measured or annotated maps: depth in metres, NaN if unmeasured; regions of named ids."""

    def __init__(self, name: str, options: PackOptions, pack: str) -> None:
        super().__init__(name, pack, options)
        path = options.path / "classes.json"
        try:
            tables = json.loads(path.read_text(encoding="utf-8"))
            self._classes = {of: {int(id_): str(name) for id_, name in ids.items()} for of, ids in tables.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise SourceUnavailable(f"{path} does not name the ids of each source: {error}") from error

    def sample(self, key: str) -> DataSample:
        """The sample with this key. Raises `SampleInvalid` if it cannot be read."""
        entry = self.entries[key]
        values: dict[str, Any] = {"rgb": entry.value("rgb", "webp")}
        if "depth.png" in entry.files:
            values["depth"] = (entry.value("depth", "depth.png") / _MILLIMETRES).astype(np.float32)
        if "semseg.png" in entry.files:
            ids = entry.value("semseg", "semseg.png").ids.astype(np.int32)
            names = self._classes.get(entry.metadata["source"], {})
            present = [int(id_) for id_ in np.unique(ids) if id_ != _VOID]
            if unknown := [id_ for id_ in present if id_ not in names]:
                raise SampleInvalid(
                    f"{entry.metadata['id']} has regions of id {unknown[0]}, which classes.json does not name"
                )
            values["semseg"] = Regions(ids, {id_: names[id_] for id_ in present})
        return DataSample(key, values, {"medium": "photo", **entry.attributes})


class PhotosOptions(Config):
    """`path`: the folder of the shards `photos-*.tar`; `labelled`: only photos whose label names a class."""

    path: Path
    labelled: bool = False


class PhotosSource(PackSource):
    """A source of labelled photos of things, with the shards' own keys of six digits."""

    licence = LICENCES["photos"]

    def __init__(self, name: str, options: PhotosOptions) -> None:
        """Read the metadata of every photo. Raises `SourceUnavailable`."""
        self.name = name
        entries = _entries(options.path / "photos-*.tar", "", required=())
        self.origin = f"photos, {describe({key: entry.files for key, entry in entries.items()})}"
        self.entries = {
            key: entry
            for key, entry in entries.items()
            if not options.labelled or entry.metadata.get("label") not in (None, "", *_NO_CLASS)
        }

    def class_of(self, key: str) -> str | None:
        """The class of a photo, under one name for synonyms; None if it is unknown."""
        label = self.entries[key].metadata.get("label")
        return None if not label or label in _NO_CLASS else _CLASS_ALIASES.get(label, label)

    def source_of(self, key: str) -> str:
        """The collection that a photo belongs to, such as `caltech101`."""
        return str(self.entries[key].metadata["source"])

    def caption(self, key: str) -> str | None:
        """A person's description of things with the photo's label; None if there is none."""
        return self.entries[key].metadata.get("caption") or None

    def picture(self, key: str) -> ByteArray:
        """uint8 (H, W, 3). Raises `SampleInvalid`."""
        picture: ByteArray = self.entries[key].value("rgb", "webp")
        return picture

    def sample(self, key: str) -> DataSample:
        """The sample with this key. Raises `SampleInvalid` if it cannot be read."""
        metadata = self.entries[key].metadata
        values: dict[str, Any] = {"rgb": self.picture(key)}
        if caption := self.caption(key):
            values["caption"] = (Caption(caption, Origin.HUMAN),)
        names = {}
        if (class_name := self.class_of(key)) is not None:
            names = {"label": metadata["label"], "concept": f"{metadata['source']}/{class_name}"}
        tags = [tag for tag in (metadata.get("coarse_label"),) if tag and tag != names.get("label")]
        return DataSample(key, values, {"medium": "photo", **names, "tags": tags, **self.entries[key].attributes})


CAPTIONS = SourceKind(lambda name, options, settings: CaptionsSource(name, options), PackOptions)
SKETCHES = SourceKind(lambda name, options, settings: SketchesSource(name, options, settings.image_size), PackOptions)
DEPTH = SourceKind(lambda name, options, settings: MeasuredSource(name, options, "depth"), PackOptions)
SEGMENTATION = SourceKind(lambda name, options, settings: MeasuredSource(name, options, "segmentation"), PackOptions)
PHOTOS = SourceKind(lambda name, options, settings: PhotosSource(name, options), PhotosOptions)
