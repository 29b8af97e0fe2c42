"""Labellers that compute edges, palettes, templated captions and metadata from what a sample has.

Metadata fields and their formulas:

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

_DIGITS = 4  # of metadata
_EMOJI = ("a picture of {}", "a drawing of {}", "{} icon", "an emoji of {}", "find {}", "a simple {} symbol")
_PHOTO = ("a {medium} of {}", "{}", "a picture of a {}", "a {medium} with a {} in it", "{}, photographed")


def _canny_edge(sample: DataSample) -> dict[str, Any]:
    """Canny's edges of `rgb`; blur and thresholds are drawn for each sample by its key."""
    return {"canny_edge": random_canny(sample.values["rgb"], np.random.default_rng(zlib.crc32(sample.key.encode())))}


def _soft_edge(sample: DataSample) -> dict[str, Any]:
    """Gradients of `rgb` over several scales, not a learned detector."""
    return {"soft_edge": soft_edges(sample.values["rgb"])}


def _color_palette(sample: DataSample) -> dict[str, Any]:
    """The most common colours of `rgb`, clustered into 1, 2, ... of them, as far as it has so many."""
    palettes = [palette_of(sample.values["rgb"], colours) for colours in range(1, MAX_COLOURS + 1)]
    return {"color_palette": tuple({len(palette): palette for palette in palettes}.values())}


def _caption(sample: DataSample) -> dict[str, Any]:
    """Templates filled with the attributes `label`, `tags` and `medium`, after the captions already present."""
    about = sample.attributes
    if not about.get("label"):
        return {}
    captions: tuple[Caption, ...] = sample.values.get("caption", ())
    texts = template_texts(about.get("medium", "picture"), about["label"], about.get("tags", ()))
    known = {caption.text for caption in captions}
    return {"caption": captions + tuple(Caption(text, Origin.TEMPLATE) for text in texts if text not in known)}


def template_texts(medium: str, label: str, tags: Sequence[str]) -> list[str]:
    """Texts of a thing, each once. Media without frames of their own are described as photos are, by their name."""
    if medium == "emoji":
        return _emoji_texts(label, tags)
    if medium == "clip art":
        return [f"clip art of {label}", *(text for name in tags for text in (name, f"{name}, {label}"))]
    frames = _PHOTO if medium == "photo" else _PHOTO[:-1]
    broader = [text for tag in tags for text in (f"{label}, {tag}", f"a {medium} of {tag}")]
    return [*(frame.format(label, medium=medium) for frame in frames), *broader]


def _emoji_texts(label: str, tags: Sequence[str]) -> list[str]:
    """Texts of an emoji, its label first: label and tags, plain, joined and in frames."""
    name = label.replace(":", "")
    others = [tag for tag in tags if tag != label][:6]
    texts = [label, _EMOJI[0].format(name), _EMOJI[1 + len(name) % 5].format(name)]
    if others:
        texts += [f"{name}, {', '.join(others[:3])}", " ".join(others[:4]), f"a {others[0]} {name}"]
        texts += [*others[:2], _EMOJI[1 + len(name) % 3].format(others[-1])]
    return list(dict.fromkeys(text for text in texts if text.strip()))


def computed_metadata(sample: DataSample) -> dict[str, Any]:
    """`metadata` of whatever is there; fields that the source gave stay."""
    sizes = ("original_width", "original_height")
    fields: dict[str, float] = {name: sample.attributes[name] for name in sizes if name in sample.attributes}
    for modality, fields_of in _FIELDS_OF.items():
        if modality in sample.values:
            fields |= fields_of(sample.values[modality])
    if "metadata" in sample.values:
        fields |= sample.values["metadata"].values
    rounded = {name: round(fields[name], _DIGITS) for name in FIELDS if name in fields}
    return {"metadata": Metadata(rounded)} if rounded else {}


def picture_fields(picture: ByteArray) -> dict[str, float]:
    """Fields of uint8 (H, W, 3)."""
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
    "bounding_boxes": lambda boxes: {
        "n_coco_instances": len(boxes),
        "coco_instance_diversity": len({box.label for box in boxes}),
    },
    "rgb": picture_fields,
    "semseg": lambda regions: {"semantic_diversity": len(np.unique(regions.ids))},
    "normal": normal_fields,
}

CANNY_EDGE = LabellerKind(lambda options, place: Labeller("canny_edge", _canny_edge, {"rgb"}))
SOFT_EDGE = LabellerKind(lambda options, place: Labeller("soft_edge", _soft_edge, {"rgb"}))
COLOR_PALETTE = LabellerKind(lambda options, place: Labeller("color_palette", _color_palette, {"rgb"}))
CAPTION = LabellerKind(lambda options, place: Labeller("caption", _caption))
METADATA = LabellerKind(lambda options, place: Labeller("metadata", computed_metadata))
