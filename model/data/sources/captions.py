"""Photos with human-written captions, from the shards `captions-open-*.tar` and `captions-research-*.tar`."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Split
from anyseek.model.data.sources.packs import PackEntry, PackOptions, read_pack
from anyseek.model.modalities.drawings import ByteArray

LICENCE = (
    "open: FSA/OWI and DOCUMERICA photographs (US government, no known restrictions), COCO photos CC BY 2.0 and "
    "CC BY-SA 2.0 with captions CC BY 4.0 (COCO Consortium); research: Flickr8k (Hodosh, Young, Hockenmaier) and COCO "
    "photos under other licences, non-commercial research only"
)
_SQUASHED = "squashed"
_SHAPES = (4 / 3, 3 / 2)  # of most photos on Flickr
_LANDSCAPE = 0.75


@dataclass(frozen=True)
class Options(PackOptions):
    """The options of a pack, and `restore`: stretch squashed photos back to a likely shape.

    Most photos of this pack were squashed to squares, and their original shape is unknown. With `restore` they are
    stretched to 4:3 or 3:2, three quarters of them as landscapes, by a draw that depends only on the key.
    """

    restore: bool = False


class CaptionsSource:
    """Keys are `open/NUMBER` and `research/NUMBER`. A photo with all of its captions; `aspect` is kept."""

    licence = LICENCE

    def __init__(self, name: str, options: Options) -> None:
        """Reads what is said of every photo. Raises `SourceUnavailable`."""
        self.name = name
        self._options, self._pack = options, read_pack("captions", options)
        self.origin = self._pack.origin

    def keys(self, split: Split) -> Sequence[str]:
        return self._pack.keys(split)

    def sample(self, key: str) -> DataSample:
        entry = self._pack.entries[key]
        photo = entry.photo()
        if self._options.restore and entry.about.get("aspect") == _SQUASHED:
            photo = stretched(photo, _shape(key))
        attributes = {"medium": "photo", "aspect": entry.about.get("aspect", "native"), **entry.attributes}
        return DataSample(key, {"rgb": photo, "caption": _captions(entry)}, attributes)


def stretched(photo: ByteArray, shape: float) -> ByteArray:
    """A square photo uint8 (H, W, 3) with width / height = `shape`; its longer side grows, its shorter one stays."""
    height, width = photo.shape[:2]
    size = (round(width * shape), height) if shape > 1 else (width, round(height / shape))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def _shape(key: str) -> float:
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    shape = float(generator.choice(_SHAPES))
    return shape if generator.random() < _LANDSCAPE else 1 / shape


def _captions(entry: PackEntry) -> tuple[Caption, ...]:
    said: Any = entry.about.get("captions")
    if not isinstance(said, list) or not said or not all(isinstance(text, str) and text.strip() for text in said):
        raise SampleInvalid(f"{entry.about['id']} has no list of captions in its .json")
    return tuple(Caption(text.strip(), Origin.HUMAN) for text in said)


CAPTIONS = SourceKind(Options, lambda name, options, place: CaptionsSource(name, options))
