"""Write predictions as files: raw arrays, JSON or text for programs, and previews for people.

The same value always gives the same bytes. `anyseek.model.modalities.values` lists the files of each content.
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
    place_masks,
    poses_preview,
    regions_preview,
)

PREVIEW = "preview"  # ends the stem of a file that is for people only


@dataclass(frozen=True)
class PredictionFile:
    """One file of a prediction: `name` has no folder in it."""

    name: str
    media_type: str
    data: bytes


def png_file(name: str, picture: Image.Image | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> PredictionFile:
    """A PNG of a picture, or of uint8 (H, W) or (H, W, 3), or of uint16 (H, W)."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, "PNG")
    return PredictionFile(f"{name}.png", "image/png", file.getvalue())


def npy_file(name: str, values: npt.NDArray[np.generic]) -> PredictionFile:
    """The array as an NPY file (numpy.load reads it)."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return PredictionFile(f"{name}.npy", "application/x-npy", file.getvalue())


def json_file(name: str, members: Any) -> PredictionFile:
    """JSON in UTF-8. Raises ValueError for numbers that are not finite."""
    text = json.dumps(members, ensure_ascii=False, allow_nan=False, indent=1)
    return PredictionFile(f"{name}.json", "application/json", f"{text}\n".encode())


def text_file(name: str, words: str) -> PredictionFile:
    """Plain text in UTF-8 that ends in a newline."""
    return PredictionFile(f"{name}.txt", "text/plain; charset=utf-8", f"{words}\n".encode())


@dataclass(frozen=True)
class RenderInput:
    """One modality to write: its name, the value and arrays of its `Prediction`, and the input picture.

    Boxes, poses and instances are drawn on `picture` uint8 (H, W, 3), or on grey without one.
    """

    name: str
    value: Any
    arrays: Mapping[str, npt.NDArray[Any]]
    picture: ByteArray | None


def depth_files(source: RenderInput) -> list[PredictionFile]:
    """A 16-bit PNG, the values as NPY, and a coloured preview."""
    name, depth = source.name, source.value
    return [
        png_file(name, depth_levels(depth)),
        npy_file(name, depth),
        png_file(f"{name}.{PREVIEW}", depth_preview(depth)),
    ]


def normal_files(source: RenderInput) -> list[PredictionFile]:
    """A PNG, and the vectors in [-1, 1]."""
    return [png_file(source.name, source.value), npy_file(source.name, normal_vectors(source.value))]


def regions_files(source: RenderInput) -> list[PredictionFile]:
    """A PNG of ids, a coloured preview, and the names of the ids where they are known."""
    name, regions = source.name, source.value
    names = {str(number): regions.classes[number] for number in sorted(regions.classes)}
    files = [png_file(name, regions.ids.astype(np.uint8)), png_file(f"{name}.{PREVIEW}", regions_preview(regions))]
    return [*files, json_file(f"{name}.classes", names)] if names else files


def text_files(source: RenderInput) -> list[PredictionFile]:
    """Plain text, and the same as JSON."""
    return [text_file(source.name, source.value), json_file(source.name, source.value)]


def palette_files(source: RenderInput) -> list[PredictionFile]:
    """JSON, and swatches."""
    name, palette = source.name, source.value
    return [
        json_file(name, documents.palette_to_json(palette)),
        png_file(f"{name}.{PREVIEW}", palette_preview(palette)),
    ]


def metadata_files(source: RenderInput) -> list[PredictionFile]:
    """JSON, and a line for each field."""
    lines = [f"{field}: {number:g}" for field, number in source.value.values.items()]
    return [json_file(source.name, documents.metadata_to_json(source.value)), text_file(source.name, "\n".join(lines))]


def boxes_files(source: RenderInput) -> list[PredictionFile]:
    """JSON, and the boxes on the picture."""
    name, boxes = source.name, source.value
    preview = boxes_preview(boxes, source.picture)
    return [json_file(name, documents.boxes_to_json(boxes)), png_file(f"{name}.{PREVIEW}", preview)]


def poses_files(source: RenderInput) -> list[PredictionFile]:
    """JSON, a preview with boxes and body axes, and the joints' rotations if known."""
    name, people, rotations = source.name, source.value, source.arrays.get("rotations")
    preview = poses_preview(people, source.picture)
    files = [json_file(name, documents.poses_to_json(people)), png_file(f"{name}.{PREVIEW}", preview)]
    return files if rotations is None else [*files, npy_file(f"{name}.rotations", rotations)]


def instances_files(source: RenderInput) -> list[PredictionFile]:
    """JSON, the masks on the picture, and the masks themselves."""
    name, points = source.name, source.value
    masks = place_masks(points, source.arrays["masks"])
    preview = instances_preview(points, masks, source.picture)
    return [
        json_file(name, documents.instances_to_json(points)),
        png_file(f"{name}.{PREVIEW}", preview),
        npy_file(f"{name}.masks", masks),
    ]


def features_files(source: RenderInput) -> list[PredictionFile]:
    """The values as NPY, and a coloured preview."""
    return [npy_file(source.name, source.value), png_file(f"{source.name}.{PREVIEW}", features_preview(source.value))]
