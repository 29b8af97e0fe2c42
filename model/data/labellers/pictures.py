"""Labellers that look at pictures, and at maps rendered as pictures, with EfficientNet-Lite0."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.bundle import PROJECTION, WEIGHTS
from model.data.labellers.encoders import Encoders, checked_encoders, shared_encoders, unit
from model.data.registry import LabellerKind, Place
from model.data.samples import DataSample
from model.data.shards import file_digest
from model.data.views import changed
from model.drawing import ByteArray
from model.encoders.efficientnet import Features
from model.feature_maps import Projection, load_projection
from model.modality import DECLARED
from model.preprocess import drawing_pixels, looked_at

_DRAWINGS = ("canny_edge", "soft_edge", "line_drawing")
_RENDERED = ("depth", "normal", "semseg", "bounding_boxes", "color_palette")
HalfArray = npt.NDArray[np.float16]
_PROJECTION = WEIGHTS / "4m-tiny" / PROJECTION


@dataclass(frozen=True)
class FeatureOptions:
    """`of`: the modality that is looked at, as it is and in `views` - 1 changed ways (see `model.data.views`).

    `precision` of the encoder for changed views: `bfloat16` takes half the time, and its vectors of rooms have a cosine
    of 0.995 to those of `float32`: one more change. The unchanged view is always seen in float32, as in use.
    """

    of: str = "rgb"
    views: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        if not 1 <= self.views <= 64:
            raise ValueError(f"views is 1 to 64, not {self.views}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is float32 or bfloat16, not {self.precision!r}")
        known = ("rgb", *_DRAWINGS, *_RENDERED, *DECLARED)
        if self.of not in known:
            raise ValueError(f"of is one of {', '.join(known)}, not {self.of!r}")


class FeatureMap:
    """`<of>_features` float16 (7, 7, 256), projected as for the bundled weights, and `<of>_pooled` float16 (1280,).

    With several views both are stacks of them, the unchanged one first.
    """

    def __init__(self, options: FeatureOptions, encoders: Encoders) -> None:
        self.name = f"feature_map of {options.of}"
        self.needs = frozenset({options.of})
        self.gives = frozenset({f"{options.of}_features", f"{options.of}_pooled"})
        self._of, self._views, self._encoders = options.of, options.views, encoders
        self._half = options.precision == "bfloat16"

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        value = sample.values[self._of]
        seen = [self._encoders.features(_pixels(self._of, value))]
        seen.extend(self._see(self._changed(sample.key, value, view)) for view in range(1, self._views))
        maps, pooled = (np.concatenate(arrays) for arrays in zip(*map(_kept, seen), strict=True))
        many = self._views > 1
        return {
            f"{self._of}_features": maps if many else maps[0],
            f"{self._of}_pooled": pooled if many else pooled[0],
        }

    def _changed(self, key: str, value: Any, view: int) -> ByteArray:
        generator = np.random.default_rng(zlib.crc32(f"{key} {self._of} {view}".encode()))
        return _pixels(self._of, changed(self._of, value, generator))

    def _see(self, pixels: ByteArray) -> Features:
        return self._encoders.half_features(pixels) if self._half else self._encoders.features(pixels)


@dataclass(frozen=True)
class GlobalOptions:
    """There is nothing to set."""


class VisualGlobal:
    """`visual_global` unit float16 (1280,): the pooled vector of `rgb`."""

    name = "visual_global"
    needs = frozenset({"rgb"})
    gives = frozenset({"visual_global"})

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        features = self._encoders.features(looked_at("rgb", sample.values["rgb"]))
        return {"visual_global": unit(features.pooled[0])}


def _pixels(modality: str, value: Any) -> ByteArray:
    """What the encoder sees of a value: uint8 (224, 224, 3). Of several palettes it is the one with most colours."""
    if modality in _DRAWINGS:  # not all of them are modalities that a user can name
        return drawing_pixels(value)
    return looked_at(modality, value[-1] if modality == "color_palette" else value)


@torch.inference_mode()
def _kept(features: Features) -> tuple[HalfArray, HalfArray]:
    """Projected maps (n, 7, 7, 256) and pooled vectors (n, 1280)."""
    maps = _projection()(features.grid.float()).permute(0, 2, 3, 1)
    return maps.half().numpy(), features.pooled.half().numpy()


@cache
def _projection() -> Projection:
    return load_projection(_PROJECTION)


def _checked(options: FeatureOptions, place: Place) -> str:
    return f"{checked_encoders(options, place)}, projection {file_digest(_PROJECTION)[:16]}"


FEATURE_MAP = LabellerKind(
    FeatureOptions, lambda options, place: FeatureMap(options, shared_encoders(place.home)), _checked
)
VISUAL_GLOBAL = LabellerKind(
    GlobalOptions, lambda options, place: VisualGlobal(shared_encoders(place.home)), checked_encoders
)
