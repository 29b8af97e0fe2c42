"""The words a user types for kinds of input and output, and what each one holds. Imports no torch.

The published names of a checkpoint (`tok_depth@224`, `det`) are *checkpoint keys*:
`anyseek.model.fourm.published.modalities` says which belong to a modality, and users never type them. Users may declare
modalities of their own in `modalities.yaml` in the data directory; every process reads it when it starts.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from anyseek.model.errors import ModalityInvalid
from anyseek.model.home import default_home


class Content(StrEnum):
    """What a part of a sample is once decoded."""

    PICTURE = "picture"  # uint8 (H, W, 3), RGB
    DRAWING = "drawing"  # uint8 (H, W), light on dark after polarity is normalised
    DEPTH = "depth"  # float32 (H, W), larger is farther, NaN where not measured
    NORMAL = "normal"  # uint8 (H, W, 3), [0, 255] stands for [-1, 1]
    REGIONS = "regions"  # `Regions`: integer (H, W) ids with optional class names
    TEXT = "text"  # str
    PALETTE = "palette"  # uint8 (n, 3), 1 to 7 colours in RGB
    BOXES = "boxes"  # tuple of `LabelledBox`, corners in [0, 1] of the picture
    METADATA = "metadata"  # `Metadata`: numbers by field name
    POSES = "poses"  # tuple of `HumanPose`
    INSTANCES = "instances"  # tuple of `QueryPoint`, pixels of the 224 x 224 picture
    FEATURES = "features"  # float32 (C, h, w), a map of another network's vectors
    VECTOR = "vector"  # float32 (d,), another network's vector of the whole; its length means nothing
    TEXT_STATES = "text_states"  # `TextStates`: float32 (n, width), another network's vectors of a text


@dataclass(frozen=True)
class Modality:
    """One kind of input or output.

    `suffixes` are the file endings accepted for it (lower case, with the dot); empty where no file makes sense.
    """

    name: str
    content: Content
    describes: str
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


_PLAIN_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
PICTURE_SUFFIXES = (*_PLAIN_SUFFIXES, ".heic", ".heif", ".hif", ".avif", ".jxl")
_JSON, _NPY = (".json",), (".npy",)
_DEPTH_SUFFIXES = (".png", ".npy", ".npz", ".tif", ".tiff", ".exr")

_BUILT_IN: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality("rgb", Content.PICTURE, "a photo or any colour picture", ("image",), PICTURE_SUFFIXES),
        Modality("caption", Content.TEXT, "words that describe a picture", ("text",), (".txt",)),
        Modality(
            "canny_edge",
            Content.DRAWING,
            "a drawing: strokes or solid shapes, dark on light or light on dark",
            ("sketch",),
            PICTURE_SUFFIXES,
        ),
        Modality("sam_edge", Content.DRAWING, "the outlines of all objects", (), PICTURE_SUFFIXES),
        Modality("color_palette", Content.PALETTE, "one to seven colours, as #rrggbb", ("palette",)),
        Modality("depth", Content.DEPTH, "a depth map, larger is farther", (), _DEPTH_SUFFIXES),
        Modality("normal", Content.NORMAL, "surface normals as a picture", (), (".png",)),
        Modality("semseg", Content.REGIONS, "a map of region or class ids", (), (".png", ".npy")),
        Modality("bounding_boxes", Content.BOXES, "boxes and what is in them", ("boxes",), _JSON),
        Modality("human_pose", Content.POSES, "people: box, body pose and shape", (), _JSON),
        Modality("sam_instance", Content.INSTANCES, "points and the masks that contain them", (), _JSON),
        Modality("metadata", Content.METADATA, "numbers that describe a picture, such as brightness", (), _JSON),
        Modality("clip", Content.FEATURES, "a map of CLIP ViT-B/16 features", (), _NPY),
        Modality("dinov2", Content.FEATURES, "a map of DINOv2 ViT-B/14 features", (), _NPY),
        Modality("imagebind", Content.FEATURES, "a map of ImageBind ViT-H/14 features", (), _NPY),
        Modality("dinov2_global", Content.VECTOR, "the DINOv2 vector of a whole picture", (), _NPY),
        Modality("imagebind_global", Content.VECTOR, "the ImageBind vector of a whole picture", (), _NPY),
        Modality("t5_caption", Content.TEXT_STATES, "a caption as T5-XXL states", (), _NPY),
        Modality("visual_global", Content.VECTOR, "the EfficientNet vector of a whole picture", (), _NPY),
        Modality("semantic_global", Content.VECTOR, "the MiniLM vector of what a picture shows", (), _NPY),
    )
}

# What data sets hold besides modalities; queries cannot use these.
DATA_FIELDS = {"soft_edge": Content.DRAWING, "line_drawing": Content.DRAWING, "instances": Content.REGIONS}

DECLARATIONS = "modalities.yaml"
# What a declared modality may hold: contents that can be looked at.
_SUFFIXES = {
    Content.PICTURE: PICTURE_SUFFIXES,
    Content.DRAWING: PICTURE_SUFFIXES,
    Content.DEPTH: _DEPTH_SUFFIXES,
}
_MEMBERS = {"content", "describes", "aliases"}


def read_declarations(path: Path) -> dict[str, Modality]:
    """The modalities that a file declares, by name; none if there is no such file.

        thermal: {content: picture, describes: "a thermal picture, brighter is warmer", aliases: [heat]}

    Raises `ModalityInvalid`.
    """
    if not path.is_file():
        return {}
    import yaml  # only where it is needed: a query of a running service starts without it

    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModalityInvalid(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(declared, dict):
        raise ModalityInvalid(
            f"{path} must map names of modalities to their declarations, such as thermal: {{content: picture}}"
        )
    modalities: dict[str, Modality] = {}
    taken = {*DATA_FIELDS, *(name for m in _BUILT_IN.values() for name in (m.name, *m.aliases))}
    for name, members in declared.items():
        modalities[name] = _parse_declaration(path, name, members, taken)
        taken |= {name, *modalities[name].aliases}
    return modalities


def _parse_declaration(path: Path, name: object, members: Any, taken: Collection[str]) -> Modality:
    where = f"{path}: the modality {name!r}"
    if not isinstance(members, dict) or members.get("content") not in list(_SUFFIXES) or members.keys() - _MEMBERS:
        raise ModalityInvalid(f"{where} needs a content of {', '.join(_SUFFIXES)}, and may have describes and aliases")
    aliases = members.get("aliases", [])
    for called in (name, *(aliases if isinstance(aliases, list) else [None])):
        if not isinstance(called, str) or not re.fullmatch("[a-z][a-z0-9_]*", called) or called in taken:
            raise ModalityInvalid(
                f"{where} is called {called!r}; it must be a new name of the letters a to z, digits and _"
            )
    content = Content(members["content"])
    return Modality(str(name), content, str(members.get("describes", name)), tuple(aliases), _SUFFIXES[content])


DECLARED = read_declarations(default_home() / DECLARATIONS)
MODALITIES = _BUILT_IN | DECLARED
_ALIASES = {alias: m.name for m in MODALITIES.values() for alias in m.aliases}


def resolve(name: str) -> Modality:
    """The modality called `name` or having it as an alias.

    Raises `KeyError` if there is none; callers turn it into their own error and name the known ones.
    """
    return MODALITIES[canonical(name)]


def canonical(name: str) -> str:
    """The name of the modality that has `name` as an alias; any other name as it is."""
    return _ALIASES.get(name, name)


def field_content(name: str) -> Content | None:
    """What a field of a data set holds: that of the modality so called, or of what only data sets have.

    None for other names, such as those of arrays that were made for a network (`tok_depth`).
    """
    return MODALITIES[name].content if name in MODALITIES else DATA_FIELDS.get(name)
