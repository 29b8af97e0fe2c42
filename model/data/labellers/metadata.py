"""Labeller of metadata: the fields that can be computed from what a sample has.

| field | formula |
|---|---|
| `original_width`, `original_height` | pixels, before scaling, from the source |
| `caption_n_chars`, `caption_n_words`, `caption_n_sentences` | of the first caption; sentences end in `.`, `!` or `?` |
| `n_coco_instances`, `coco_instance_diversity` | boxes, and classes among them, of whatever classes the data has |
| `colorfulness` | Hasler and Suesstrunk (2003): std of (R-G, (R+G)/2-B) as a length, plus 0.3 times that of the means |
| `brightness`, `contrast` | mean and standard deviation of luma (ITU-R BT.601), 0 to 255 |
| `saturation` | mean of HSV saturation, 0 to 255 |
| `entropy` | Shannon entropy of the 256 luma levels, in bits |
| `semantic_diversity` | different ids in the segmentation map |
| `geometric_complexity` | 1 minus the length of the mean unit normal: 0 for a flat wall |

Walkability, objectness, occlusion, watermark and aesthetic scores, people and SAM instances need networks or
definitions that are not at hand: they are left out.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.data.registry import LabellerKind
from anyseek.model.data.samples import Caption, DataSample
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.seam import Regions

_DIGITS = 4


@dataclass(frozen=True)
class Options:
    """There is nothing to set."""


@dataclass(frozen=True)
class ComputedMetadata:
    """`metadata` of whatever is there; fields that the source gave stay."""

    name: str = "metadata"
    needs: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset({"metadata"})

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        found: dict[str, float] = {}
        for name in ("original_width", "original_height"):
            if name in sample.attributes:
                found[name] = sample.attributes[name]
        for modality, fields_of in _FIELDS_OF.items():
            if modality in sample.values:
                found |= fields_of(sample.values[modality])
        given = sample.values["metadata"].values if "metadata" in sample.values else {}
        merged = {**found, **given}
        if not merged:
            return {}
        return {"metadata": Metadata({name: round(merged[name], _DIGITS) for name in FIELDS if name in merged})}


def picture_fields(picture: ByteArray) -> dict[str, float]:
    """Fields of uint8 (H, W, 3)."""
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    sides = np.stack([red - green, (red + green) / 2 - blue])
    image = Image.fromarray(picture)
    luma = np.asarray(image.convert("L"))
    shares = np.bincount(luma.reshape(-1), minlength=256) / luma.size
    return {
        "colorfulness": float(np.hypot(*sides.std(axis=(1, 2))) + 0.3 * np.hypot(*sides.mean(axis=(1, 2)))),
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "saturation": float(np.asarray(image.convert("HSV"))[:, :, 1].mean()),
        "entropy": float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()) + 0.0,  # no negative zero
    }


def caption_fields(captions: tuple[Caption, ...]) -> dict[str, float]:
    """Fields of the first caption; none without one."""
    if not captions:
        return {}
    text = captions[0].text
    sentences = [part for part in re.split(r"[.!?]+(?:\s|$)", text) if part.strip()]
    return {
        "caption_n_chars": len(text),
        "caption_n_words": len(text.split()),
        "caption_n_sentences": len(sentences),
    }


def boxes_fields(boxes: tuple[LabelledBox, ...]) -> dict[str, float]:
    """The number of boxes, and of classes among them."""
    return {"n_coco_instances": len(boxes), "coco_instance_diversity": len({box.label for box in boxes})}


def regions_fields(regions: Regions) -> dict[str, float]:
    """The number of different ids."""
    return {"semantic_diversity": len(np.unique(regions.ids))}


def normal_fields(normal: ByteArray) -> dict[str, float]:
    """The angular variance of the normals of uint8 (H, W, 3)."""
    vectors = normal.reshape(-1, 3).astype(np.float64) / 127.5 - 1
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors[lengths > 0.5] / lengths[lengths > 0.5, None]  # grey, where there is no surface, has no direction
    if not len(units):
        return {}
    return {"geometric_complexity": max(1 - float(np.linalg.norm(units.mean(axis=0))), 0.0)}


_FIELDS_OF: Mapping[str, Callable[[Any], dict[str, float]]] = {
    "caption": caption_fields,
    "bounding_boxes": boxes_fields,
    "rgb": picture_fields,
    "semseg": regions_fields,
    "normal": normal_fields,
}

METADATA = LabellerKind(Options, lambda options, place: ComputedMetadata())
