"""What was predicted as files: for programs the raw arrays, JSON or text, for people something to look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.drawing import ByteArray
from model.modality import Content, resolve
from model.prediction import Prediction
from model.rendering import documents
from model.rendering.boxes import boxes_preview
from model.rendering.encoding import PredictionFile, document, npy, png, text
from model.rendering.instances import instances_preview, placed_masks
from model.rendering.maps import depth_levels, depth_preview, features_preview, normal_vectors, regions_preview
from model.rendering.palettes import palette_preview
from model.rendering.poses import poses_preview


@dataclass(frozen=True)
class _Shown:
    """A prediction with what its files need to know."""

    name: str
    content: Content
    value: Any  # as `content` says
    arrays: Mapping[str, Any]
    picture: ByteArray | None


PREVIEW = "preview"  # what a file that is only to be looked at ends in before its suffix


def files_of(prediction: Prediction, picture: ByteArray | None = None) -> list[PredictionFile]:
    """The files of one prediction, the one that says all of it first.

    `picture` uint8 (H, W, 3) is what boxes, poses and instances are drawn on (its middle square, which is what the
    model sees); on grey without it. Arrays are NPY, depth also a 16-bit PNG from 1 (nearest) to 65535, 0 not measured.
    """
    content = resolve(prediction.modality).content
    return _FILES[content](_Shown(prediction.modality, content, prediction.value, prediction.arrays, picture))


def members_of(prediction: Prediction) -> Any:
    """What is predicted as JSON where it is a text or numbers (a list for a vector), None for pictures and maps."""
    content = resolve(prediction.modality).content
    if content is Content.TEXT:
        return prediction.value
    if content is Content.VECTOR:
        return np.asarray(prediction.value).tolist()
    return _MEMBERS[content](prediction.value) if content in _MEMBERS else None


_MEMBERS: dict[Content, Callable[[Any], Any]] = {
    Content.PALETTE: documents.palette_members,
    Content.BOXES: documents.box_members,
    Content.METADATA: documents.metadata_members,
    Content.POSES: documents.pose_members,
    Content.INSTANCES: documents.instance_members,
}


def _picture(shown: _Shown) -> list[PredictionFile]:
    return [png(shown.name, shown.value)]


def _depth(shown: _Shown) -> list[PredictionFile]:
    name, depth = shown.name, shown.value
    return [png(name, depth_levels(depth)), npy(name, depth), png(f"{name}.{PREVIEW}", depth_preview(depth))]


def _normal(shown: _Shown) -> list[PredictionFile]:
    return [
        png(shown.name, shown.value),
        npy(shown.name, normal_vectors(shown.value)),
    ]


def _regions(shown: _Shown) -> list[PredictionFile]:
    name, regions = shown.name, shown.value
    names = {str(number): regions.classes[number] for number in sorted(regions.classes)}
    files = [png(name, regions.ids.astype(np.uint8)), png(f"{name}.{PREVIEW}", regions_preview(regions))]
    return [*files, document(f"{name}.classes", names)] if names else files


def _text(shown: _Shown) -> list[PredictionFile]:
    return [text(shown.name, shown.value), document(shown.name, shown.value)]


def _palette(shown: _Shown) -> list[PredictionFile]:
    return [_document(shown), png(f"{shown.name}.{PREVIEW}", palette_preview(shown.value))]


def _metadata(shown: _Shown) -> list[PredictionFile]:
    lines = [f"{name}: {number:g}" for name, number in shown.value.values.items()]
    return [_document(shown), text(shown.name, "\n".join(lines))]


def _boxes(shown: _Shown) -> list[PredictionFile]:
    preview = boxes_preview(shown.value, shown.picture)
    return [_document(shown), png(f"{shown.name}.{PREVIEW}", preview)]


def _poses(shown: _Shown) -> list[PredictionFile]:
    rotations = shown.arrays.get("rotations")
    preview = poses_preview(shown.value, rotations, shown.picture)
    files = [_document(shown), png(f"{shown.name}.{PREVIEW}", preview)]
    return files if rotations is None else [*files, npy(f"{shown.name}.rotations", rotations)]


def _instances(shown: _Shown) -> list[PredictionFile]:
    masks = placed_masks(shown.value, shown.arrays["masks"])
    preview = instances_preview(shown.value, masks, shown.picture)
    name = shown.name
    return [_document(shown), png(f"{name}.{PREVIEW}", preview), npy(f"{name}.masks", masks)]


def _features(shown: _Shown) -> list[PredictionFile]:
    name, features = shown.name, shown.value
    return [npy(name, features), png(f"{name}.{PREVIEW}", features_preview(features))]


def _vector(shown: _Shown) -> list[PredictionFile]:
    return [npy(shown.name, shown.value)]


def _document(shown: _Shown) -> PredictionFile:
    return document(shown.name, _MEMBERS[shown.content](shown.value))


_FILES: dict[Content, Callable[[_Shown], list[PredictionFile]]] = {
    Content.PICTURE: _picture,
    Content.DRAWING: _picture,
    Content.DEPTH: _depth,
    Content.NORMAL: _normal,
    Content.REGIONS: _regions,
    Content.TEXT: _text,
    Content.PALETTE: _palette,
    Content.METADATA: _metadata,
    Content.BOXES: _boxes,
    Content.POSES: _poses,
    Content.INSTANCES: _instances,
    Content.FEATURES: _features,
    Content.VECTOR: _vector,
}
