"""Labellers that make drawings by detecting edges in pictures."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyseek.model.data.registry import LabellerKind
from anyseek.model.data.samples import DataSample
from anyseek.model.modalities.edge_detection import canny, soft_edges, varied_canny


@dataclass(frozen=True)
class CannyOptions:
    """Blur and thresholds are drawn for each sample by its key, if `varied`; otherwise `blur` and `quiet` hold."""

    varied: bool = True
    blur: float = 1.4
    quiet: float = 0.92


@dataclass(frozen=True)
class CannyEdge:
    """`canny_edge` of `rgb`."""

    options: CannyOptions
    name: str = "canny_edge"
    needs: frozenset[str] = frozenset({"rgb"})
    gives: frozenset[str] = frozenset({"canny_edge"})

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        picture = sample.values["rgb"]
        if not self.options.varied:
            return {"canny_edge": canny(picture, self.options.blur, self.options.quiet)}
        generator = np.random.default_rng(zlib.crc32(sample.key.encode()))
        return {"canny_edge": varied_canny(picture, generator)}


@dataclass(frozen=True)
class SoftOptions:
    """There is nothing to set."""


@dataclass(frozen=True)
class SoftEdge:
    """`soft_edge` of `rgb`: gradients over several scales, not a learned detector."""

    name: str = "soft_edge"
    needs: frozenset[str] = frozenset({"rgb"})
    gives: frozenset[str] = frozenset({"soft_edge"})

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        return {"soft_edge": soft_edges(sample.values["rgb"])}


CANNY_EDGE = LabellerKind(CannyOptions, lambda options, place: CannyEdge(options))
SOFT_EDGE = LabellerKind(SoftOptions, lambda options, place: SoftEdge())
