"""Labellers that look at pictures, and at maps rendered as pictures, with EfficientNet-Lite0."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.baseline_pictures import as_picture
from model.bundle import PROJECTION, WEIGHTS
from model.data.errors import SampleInvalid
from model.data.labellers.encoders import Encoders, checked_encoders, shared_encoders, unit
from model.data.registry import LabellerKind, Place
from model.data.samples import DataSample
from model.data.shards import file_digest
from model.data.views import changed
from model.drawing import ByteArray
from model.feature_maps import Projection, load_projection
from model.preprocess import drawing_pixels, picture_pixels

_DRAWINGS = ("canny_edge", "soft_edge", "line_drawing")
_RENDERED = ("depth", "normal", "semseg", "bounding_boxes", "color_palette")
HalfArray = npt.NDArray[np.float16]
_PROJECTION = WEIGHTS / "4m-tiny" / PROJECTION


@dataclass(frozen=True)
class FeatureOptions:
    """`of`: the modality that is looked at, as it is and in `views` - 1 changed ways (see `model.data.views`)."""

    of: str = "rgb"
    views: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.views <= 64:
            raise ValueError(f"views is 1 to 64, not {self.views}")
        known = ("rgb", *_DRAWINGS, *_RENDERED)
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

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        value = sample.values[self._of]
        seen = [self._see(looked_at(self._of, value))]
        for view in range(1, self._views):
            generator = np.random.default_rng(zlib.crc32(f"{sample.key} {self._of} {view}".encode()))
            seen.append(self._see(looked_at(self._of, changed(self._of, value, generator))))
        maps, pooled = zip(*seen, strict=True)
        many = self._views > 1
        return {
            f"{self._of}_features": np.stack(maps) if many else maps[0],
            f"{self._of}_pooled": np.stack(pooled) if many else pooled[0],
        }

    @torch.inference_mode()
    def _see(self, pixels: ByteArray) -> tuple[HalfArray, HalfArray]:
        """The map and the pooled vector of uint8 (224, 224, 3)."""
        features = self._encoders.features(pixels)
        kept = _projection()(features.grid)[0].permute(1, 2, 0)  # (256, 7, 7) -> (7, 7, 256)
        return kept.half().numpy(), features.pooled[0].half().numpy()


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


def looked_at(modality: str, value: Any) -> ByteArray:
    """What the encoder sees of a value: uint8 (224, 224, 3). Of several palettes it is the one with most colours."""
    if modality in _DRAWINGS:
        return drawing_pixels(value)
    shown = as_picture(modality, value[-1] if modality == "color_palette" else value)
    if shown is None:
        raise SampleInvalid(f"{modality} cannot be rendered")
    return picture_pixels(shown)


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
