"""Labellers that run EfficientNet-Lite0 on pictures, and on maps rendered as pictures."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch

from anyseek.model.config_reader import Bounds, Refused
from anyseek.model.data.contents import changed
from anyseek.model.data.labellers.encoders import Encoders, checked_encoders, shared_encoders, unit
from anyseek.model.data.registry import LabellerKind, Place
from anyseek.model.data.samples import DataSample
from anyseek.model.encoders.efficientnet import Features
from anyseek.model.encoders.preprocess import looked_at, seen_pixels
from anyseek.model.files import file_digest
from anyseek.model.fourm.bundled.bundle import PROJECTION, WEIGHTS
from anyseek.model.fourm.bundled.shortcuts import Projection, load_projection
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.registry import DATA_FIELDS, MODALITIES, Content, field_content
from anyseek.model.modalities.values import CONTENTS

HalfArray = npt.NDArray[np.float16]
_PROJECTION = WEIGHTS / "4m-tiny" / PROJECTION


@dataclass(frozen=True)
class FeatureOptions:
    """Options: `of` is the modality to look at, unchanged and in `views` - 1 changed ways (`model.data.perturbations`).

    `precision` is the encoder's precision for changed views. `bfloat16` takes half the time, and its vectors of rooms
    have a cosine of 0.995 to those of `float32`, which is one more change. The unchanged view always uses float32, as
    in use.
    """

    of: str = "rgb"
    views: Annotated[int, Bounds(1, 64)] = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise Refused("precision", f"must be float32 or bfloat16, not {self.precision!r}")
        contents = {name: field_content(name) for name in (*MODALITIES, *DATA_FIELDS)}
        known = [name for name, content in contents.items() if content and CONTENTS[content].look]
        if self.of not in known:
            raise Refused("of", f"must be one of {', '.join(known)}, not {self.of!r}")


class FeatureMap:
    """`<of>_features` float16 (7, 7, 256), projected as for the bundled weights, and `<of>_pooled` float16 (1280,).

    With several views, both are stacks with the unchanged view first.
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


def _pixels(field: str, value: Any) -> ByteArray:
    """What the encoder sees of a value: uint8 (224, 224, 3). Of several palettes it is the one with most colours."""
    content = field_content(field)
    assert content is not None, "`FeatureOptions` has refused every other field"
    return seen_pixels(content, value[-1] if content is Content.PALETTE else value)


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
