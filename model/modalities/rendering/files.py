"""Write predictions as files: raw arrays, JSON or text for programs, and previews for people.

The same value always gives the same bytes. `anyseek.model.modalities.values` lists which content becomes which files.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading import documents
from anyseek.model.modalities.rendering.previews import (
    boxes_preview,
    depth_levels,
    depth_preview,
    features_preview,
    instances_preview,
    normal_vectors,
    palette_preview,
    placed_masks,
    poses_preview,
    regions_preview,
)

PREVIEW = "preview"  # what a file that is only to be looked at ends in before its suffix


@dataclass(frozen=True)
class PredictionFile:
    """One file of a prediction: `name` has no folder in it."""

    name: str
    media_type: str
    data: bytes


def png(name: str, picture: Image.Image | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> PredictionFile:
    """A PNG of a picture, or of uint8 (H, W) or (H, W, 3), or of uint16 (H, W)."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, "PNG")
    return PredictionFile(f"{name}.png", "image/png", file.getvalue())


def npy(name: str, values: npt.NDArray[np.generic]) -> PredictionFile:
    """The array as an NPY file (numpy.load reads it)."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return PredictionFile(f"{name}.npy", "application/x-npy", file.getvalue())


def document(name: str, members: Any) -> PredictionFile:
    """JSON in UTF-8. Raises ValueError for numbers that are not finite."""
    text = json.dumps(members, ensure_ascii=False, allow_nan=False, indent=1)
    return PredictionFile(f"{name}.json", "application/json", f"{text}\n".encode())


def text(name: str, words: str) -> PredictionFile:
    """Plain text in UTF-8, one line end after it."""
    return PredictionFile(f"{name}.txt", "text/plain; charset=utf-8", f"{words}\n".encode())


@dataclass(frozen=True)
class Predicted:
    """The source of a modality's files: its name, the value and arrays of its `Prediction`, and the picture.

    Boxes, poses and instances are drawn on `picture` uint8 (H, W, 3), or on grey without one.
    """

    name: str
    value: Any
    arrays: Mapping[str, npt.NDArray[Any]]
    picture: ByteArray | None


def depth_files(shown: Predicted) -> list[PredictionFile]:
    """A 16-bit PNG, the numbers themselves, and a coloured preview."""
    name, depth = shown.name, shown.value
    return [png(name, depth_levels(depth)), npy(name, depth), png(f"{name}.{PREVIEW}", depth_preview(depth))]


def normal_files(shown: Predicted) -> list[PredictionFile]:
    """A PNG, and the vectors in [-1, 1]."""
    return [png(shown.name, shown.value), npy(shown.name, normal_vectors(shown.value))]


def regions_files(shown: Predicted) -> list[PredictionFile]:
    """A PNG of ids, a coloured preview, and the names of the ids where they are known."""
    name, regions = shown.name, shown.value
    names = {str(number): regions.classes[number] for number in sorted(regions.classes)}
    files = [png(name, regions.ids.astype(np.uint8)), png(f"{name}.{PREVIEW}", regions_preview(regions))]
    return [*files, document(f"{name}.classes", names)] if names else files


def text_files(shown: Predicted) -> list[PredictionFile]:
    """Plain text, and the same as JSON."""
    return [text(shown.name, shown.value), document(shown.name, shown.value)]


def palette_files(shown: Predicted) -> list[PredictionFile]:
    """JSON, and swatches."""
    name, palette = shown.name, shown.value
    return [document(name, documents.palette_members(palette)), png(f"{name}.{PREVIEW}", palette_preview(palette))]


def metadata_files(shown: Predicted) -> list[PredictionFile]:
    """JSON, and a line for each field."""
    lines = [f"{field}: {number:g}" for field, number in shown.value.values.items()]
    return [document(shown.name, documents.metadata_members(shown.value)), text(shown.name, "\n".join(lines))]


def boxes_files(shown: Predicted) -> list[PredictionFile]:
    """JSON, and the boxes on the picture."""
    name, boxes = shown.name, shown.value
    preview = boxes_preview(boxes, shown.picture)
    return [document(name, documents.box_members(boxes)), png(f"{name}.{PREVIEW}", preview)]


def poses_files(shown: Predicted) -> list[PredictionFile]:
    """JSON, where people are on the picture, and the rotations of their joints if known."""
    name, people, rotations = shown.name, shown.value, shown.arrays.get("rotations")
    preview = poses_preview(people, shown.picture)
    files = [document(name, documents.pose_members(people)), png(f"{name}.{PREVIEW}", preview)]
    return files if rotations is None else [*files, npy(f"{name}.rotations", rotations)]


def instances_files(shown: Predicted) -> list[PredictionFile]:
    """JSON, the masks on the picture, and the masks themselves."""
    name, points = shown.name, shown.value
    masks = placed_masks(points, shown.arrays["masks"])
    preview = instances_preview(points, masks, shown.picture)
    return [
        document(name, documents.instance_members(points)),
        png(f"{name}.{PREVIEW}", preview),
        npy(f"{name}.masks", masks),
    ]


def features_files(shown: Predicted) -> list[PredictionFile]:
    """The numbers themselves, and a preview in colours."""
    return [npy(shown.name, shown.value), png(f"{shown.name}.{PREVIEW}", features_preview(shown.value))]
