"""The words a user types for kinds of input, and what each one accepts.

The published names of a checkpoint (`tok_depth@224`, `det`) are *checkpoint keys*: they are looked up here and
in `model.config`, and users never type them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Content(StrEnum):
    """What a part of a sample is once decoded."""

    PICTURE = "picture"  # uint8 (H, W, 3), RGB
    DRAWING = "drawing"  # uint8 (H, W), light on dark after polarity is normalised
    DEPTH = "depth"  # float32 (H, W), larger is farther, NaN where not measured
    NORMAL = "normal"  # uint8 (H, W, 3), [0, 255] stands for [-1, 1]
    REGIONS = "regions"  # `Regions`: integer (H, W) ids with optional class names
    TEXT = "text"  # str
    PALETTE = "palette"  # uint8 (n, 3), 1 to 7 colours in RGB


@dataclass(frozen=True)
class Modality:
    """One kind of input.

    `suffixes` are the file endings accepted for it (lower case, with the dot); empty where no file makes sense.
    """

    name: str
    content: Content
    describes: str
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

MODALITIES: dict[str, Modality] = {
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
        Modality("color_palette", Content.PALETTE, "one to seven colours, as #rrggbb", ("palette",)),
        Modality("depth", Content.DEPTH, "a depth map, larger is farther", (), (".png", ".npy")),
        Modality("normal", Content.NORMAL, "surface normals as a picture", (), (".png",)),
        Modality("semseg", Content.REGIONS, "a map of region or class ids", (), (".png",)),
    )
}

_ALIASES = {alias: m.name for m in MODALITIES.values() for alias in m.aliases}


def resolve(name: str) -> Modality:
    """The modality called `name` or having it as an alias.

    Raises `KeyError` if there is none; callers turn it into their own error and name the known ones.
    """
    return MODALITIES[_ALIASES.get(name, name)]
