"""Hand-drawn sketches: strokes from Quick, Draw!, and Sketchy's sketches with the photos they show.

The shards are `sketches-open-*.tar` (strokes, no picture) and `sketches-research-*.tar` (photos with their sketches).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from anyseek.model.data.codecs import read_value
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.registry import Place, SourceKind
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.data.sources.packs import PackEntry, PackOptions, read_pack
from anyseek.model.modalities.drawings import ByteArray

LICENCE = (
    "open: The Quick, Draw! Dataset (Google), CC BY 4.0; research: The Sketchy Database (Sangkloy, Burnell, Ham, "
    "Hays), licence unclear, research only"
)
_EXTENT = 256  # strokes lie in 0 to 255
_MARGIN = 0.04  # of the sheet's side
_PEN = 1 / 64  # of the sheet's side
_FINER = 2  # drawn at this multiple and scaled down, so that strokes are smooth


class SketchesSource:
    """Keys are `open/NUMBER` for drawings alone, and `research/NUMBER/SKETCH` for a photo with one of its sketches.

    All have `label`, and `concept`: the photo for Sketchy, so that its sketches are no wrong answers for each other.
    """

    licence = LICENCE

    def __init__(self, name: str, options: PackOptions, side: int) -> None:
        """Reads what is said of every sample; `side`: of the sheet that strokes are drawn on, in pixels.

        Raises `SourceUnavailable`.
        """
        self.name, self._side = name, side
        self._pack = read_pack("sketches", options)
        self.origin = f"{self._pack.origin}, drawn at {side}"

    def keys(self, split: Split) -> Sequence[str]:
        return [
            f"{key}/{number}" if number else key
            for key in self._pack.keys(split)
            for number in _numbers(self._pack.entries[key])
        ]

    def sample(self, key: str) -> DataSample:
        if key in self._pack.entries:
            entry = self._pack.entries[key]
            values = {"line_drawing": drawn(_strokes(entry), self._side)}
        else:
            photo_key, _, number = key.rpartition("/")
            entry = self._pack.entries[photo_key]
            name = f"sketch {number} of {entry.about['id']}"
            paper = read_value("line_drawing", entry.file(f"{number}.png"), name)
            values = {"rgb": entry.photo(), "line_drawing": 255 - paper}
        label, medium = entry.about["label"], "photo" if "rgb" in values else "sketch"
        attributes = {"medium": medium, "label": label, "concept": entry.about["id"], **entry.attributes}
        return DataSample(key, values, attributes)


def drawn(strokes: Sequence[Sequence[Sequence[float]]], side: int) -> ByteArray:
    """Strokes in the middle of a sheet: uint8 (side, side), ink is 255.

    A stroke is a pair of x and y, each from 0 to 255 a point, downwards; one scale serves all drawings.
    """
    large = side * _FINER
    scale = large * (1 - 2 * _MARGIN) / _EXTENT
    far = [max((max(axis) for axis in (stroke[n] for stroke in strokes) if axis), default=0.0) for n in (0, 1)]
    shift = [(large - scale * extent) / 2 for extent in far]
    sheet = Image.new("L", (large, large), 0)
    pen = ImageDraw.Draw(sheet)
    width = max(1, round(large * _PEN))
    for x, y in strokes:
        points = [(a * scale + shift[0], b * scale + shift[1]) for a, b in zip(x, y, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=255, width=width, joint="curve")
        for a, b in points[:: max(1, len(points) - 1)]:  # round ends, and strokes of one point
            pen.ellipse((a - width / 2, b - width / 2, a + width / 2, b + width / 2), fill=255)
    return np.asarray(sheet.resize((side, side), Image.Resampling.BOX))


def _numbers(entry: PackEntry) -> list[str]:
    """The numbers of a photo's sketches; one that is empty for a drawing alone."""
    return [one["file"].removesuffix(".png") for one in entry.about["sketches"]] if "sketches" in entry.about else [""]


def _strokes(entry: PackEntry) -> Any:
    """The strokes of a drawing. Raises `SampleInvalid` where there are none, or an x without its y."""
    strokes = entry.about.get("drawing")
    if not strokes or any(len(stroke) != 2 or len(stroke[0]) != len(stroke[1]) for stroke in strokes):
        raise SampleInvalid(f"{entry.about['id']} has no strokes with an x and a y for each point")
    return strokes


def _open(name: str, options: PackOptions, place: Place) -> SketchesSource:
    return SketchesSource(name, options, place.image_size)


SKETCHES = SourceKind(PackOptions, _open)
