"""Labellers that compute edges, palettes, templated captions and metadata from what a sample has.

The metadata fields and their formulas:

| field | formula |
|---|---|
| `original_width`, `original_height` | pixels, before scaling, from the source |
| `caption_n_chars`, `caption_n_words`, `caption_n_sentences` | of the first caption; sentences end in `.`, `!` or `?` |
| `n_coco_instances`, `coco_instance_diversity` | numbers of boxes and of their classes, whatever the classes |
| `colorfulness` | Hasler and Suesstrunk (2003): std of (R-G, (R+G)/2-B) as a length, plus 0.3 times that of the means |
| `brightness`, `contrast` | mean and standard deviation of luma (ITU-R BT.601), 0 to 255 |
| `saturation` | mean of HSV saturation, 0 to 255 |
| `entropy` | Shannon entropy of the 256 luma levels, in bits |
| `semantic_diversity` | distinct ids in the segmentation map |
| `geometric_complexity` | 1 minus the length of the mean unit normal: 0 for a flat wall |

Walkability, objectness, occlusion, watermark and aesthetic scores, people and SAM instances are left out, because they
need other networks or definitions.
"""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.colours.measures import colourfulness
from anyseek.model.data.registry import Labeller, LabellerKind
from anyseek.model.data.samples import Caption, DataSample, Origin
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.edge_detection import random_canny, soft_edges
from anyseek.model.modalities.formats.color_palette import MAX_COLOURS, palette_of
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata

_DIGITS = 4  # decimals of metadata
_EMOJI = ("a picture of {}", "a drawing of {}", "{} icon", "an emoji of {}", "find {}", "a simple {} symbol")
_PHOTO = ("a {medium} of {}", "{}", "a picture of a {}", "a {medium} with a {} in it", "{}, photographed")


def _canny_edge(sample: DataSample) -> dict[str, Any]:
    """Canny edges of `rgb`; blur and thresholds are drawn by a generator that the sample's key seeds."""
    return {"canny_edge": random_canny(sample.values["rgb"], np.random.default_rng(zlib.crc32(sample.key.encode())))}


def _soft_edge(sample: DataSample) -> dict[str, Any]:
    """Gradients of `rgb` over several scales, without a learned detector."""
    return {"soft_edge": soft_edges(sample.values["rgb"])}


def _color_palette(sample: DataSample) -> dict[str, Any]:
    """Palettes of `rgb` with 1, 2, ... `MAX_COLOURS` clustered colours, as far as it has that many."""
    palettes = [palette_of(sample.values["rgb"], colours) for colours in range(1, MAX_COLOURS + 1)]
    return {"color_palette": tuple({len(palette): palette for palette in palettes}.values())}


def _caption(sample: DataSample) -> dict[str, Any]:
    """Templates filled with the attributes `label`, `tags` and `medium`, after the captions already present."""
    attributes = sample.attributes
    if not attributes.get("label"):
        return {}
    captions: tuple[Caption, ...] = sample.values.get("caption", ())
    texts = template_texts(attributes.get("medium", "picture"), attributes["label"], attributes.get("tags", ()))
    existing = {caption.text for caption in captions}
    return {"caption": captions + tuple(Caption(text, Origin.TEMPLATE) for text in texts if text not in existing)}


def template_texts(medium: str, label: str, tags: Sequence[str]) -> list[str]:
    """The captions of a thing, without duplicates. Media without templates of their own use those of photos."""
    if medium == "emoji":
        return _emoji_texts(label, tags)
    if medium == "clip art":
        return [f"clip art of {label}", *(text for name in tags for text in (name, f"{name}, {label}"))]
    templates = _PHOTO if medium == "photo" else _PHOTO[:-1]
    broader = [text for tag in tags for text in (f"{label}, {tag}", f"a {medium} of {tag}")]
    return [*(template.format(label, medium=medium) for template in templates), *broader]


def _emoji_texts(label: str, tags: Sequence[str]) -> list[str]:
    """The captions of an emoji, its label first: label and tags alone, joined, and in templates."""
    name = label.replace(":", "")
    others = [tag for tag in tags if tag != label][:6]
    texts = [label, _EMOJI[0].format(name), _EMOJI[1 + len(name) % 5].format(name)]
    if others:
        texts += [f"{name}, {', '.join(others[:3])}", " ".join(others[:4]), f"a {others[0]} {name}"]
        texts += [*others[:2], _EMOJI[1 + len(name) % 3].format(others[-1])]
    return list(dict.fromkeys(text for text in texts if text.strip()))


def computed_metadata(sample: DataSample) -> dict[str, Any]:
    """`metadata` computed from the values that the sample has; fields of the source take precedence."""
    sizes = ("original_width", "original_height")
    fields: dict[str, float] = {name: sample.attributes[name] for name in sizes if name in sample.attributes}
    for modality, compute_fields in _FIELDS_OF.items():
        if modality in sample.values:
            fields |= compute_fields(sample.values[modality])
    if "metadata" in sample.values:
        fields |= sample.values["metadata"].values
    rounded = {name: round(fields[name], _DIGITS) for name in FIELDS if name in fields}
    return {"metadata": Metadata(rounded)} if rounded else {}


def picture_fields(picture: ByteArray) -> dict[str, float]:
    """The fields of a picture uint8 (H, W, 3)."""
    image = Image.fromarray(picture)
    luma = np.asarray(image.convert("L"))
    shares = np.bincount(luma.reshape(-1), minlength=256) / luma.size
    return {
        "colorfulness": colourfulness(picture),
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "saturation": float(np.asarray(image.convert("HSV"))[:, :, 1].mean()),
        "entropy": float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()) + 0.0,  # no negative zero
    }


def caption_fields(captions: tuple[Caption, ...]) -> dict[str, float]:
    """The fields of the first caption; empty without captions."""
    if not captions:
        return {}
    text = captions[0].text
    sentences = [part for part in re.split(r"[.!?]+(?:\s|$)", text) if part.strip()]
    return {
        "caption_n_chars": len(text),
        "caption_n_words": len(text.split()),
        "caption_n_sentences": len(sentences),
    }


def normal_fields(normal: ByteArray) -> dict[str, float]:
    """The fields of normals uint8 (H, W, 3): their angular variance."""
    vectors = normal.reshape(-1, 3).astype(np.float64) / 127.5 - 1
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors[lengths > 0.5] / lengths[lengths > 0.5, None]  # grey means no surface
    if not len(units):
        return {}
    return {"geometric_complexity": max(1 - float(np.linalg.norm(units.mean(axis=0))), 0.0)}


_FIELDS_OF: Mapping[str, Callable[[Any], dict[str, float]]] = {
    "caption": caption_fields,
    "bounding_boxes": lambda boxes: {
        "n_coco_instances": len(boxes),
        "coco_instance_diversity": len({box.label for box in boxes}),
    },
    "rgb": picture_fields,
    "semseg": lambda regions: {"semantic_diversity": len(np.unique(regions.ids))},
    "normal": normal_fields,
}

CANNY_EDGE = LabellerKind(lambda options, settings: Labeller("canny_edge", _canny_edge, {"rgb"}))
SOFT_EDGE = LabellerKind(lambda options, settings: Labeller("soft_edge", _soft_edge, {"rgb"}))
COLOR_PALETTE = LabellerKind(lambda options, settings: Labeller("color_palette", _color_palette, {"rgb"}))
CAPTION = LabellerKind(lambda options, settings: Labeller("caption", _caption))
METADATA = LabellerKind(lambda options, settings: Labeller("metadata", computed_metadata))
