"""Materials of objects, read from MTL files: colours, textures and transparency."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zipfile import ZipFile

import numpy as np
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray

TEXTURE_SIZE = 256  # pixels of the longer side; more cannot be seen in a small picture
_GLASS = np.array([0.78, 0.86, 0.88], np.float32)  # what is seen of a pane instead of what is behind it
_GREY = (0.7, 0.7, 0.7)


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks: `texture` uint8 (h, w, 3) in sRGB, or `colour` float32 (3,) in sRGB [0, 1] if there is none.

    `luminance` is the mean over the material, in [0, 1]. `opacity` in [0, 1]: nearly transparent surfaces are left
    out, and rays hit all others, even a pane of glass.
    """

    name: str
    colour: FloatArray
    texture: ByteArray | None
    luminance: float
    opacity: float


DEFAULT = Material("", np.array(_GREY, np.float32), None, 0.7, 1.0)


def read_materials(archive: ZipFile, path: str) -> dict[str, Material]:
    """The materials of an MTL file by name, none if there is no such file; a missing texture leaves the colour."""
    names = {name.lower(): name for name in archive.namelist()}
    folder = path.rpartition("/")[0]
    text = archive.read(names[path.lower()]).decode("latin-1") if path.lower() in names else ""
    return {
        name.strip(): _material(name.strip(), [line.split() for line in lines], archive, folder, names)
        for name, *lines in (block.splitlines() for block in text.split("newmtl ")[1:])
    }


def sample(material: Material, uv: FloatArray) -> FloatArray:
    """The colours at texture coordinates (n, 2), origin below on the left and repeating: float32 (n, 3), sRGB."""
    if material.texture is None:
        return np.asarray(np.broadcast_to(material.colour, (len(uv), 3)))
    height, width = material.texture.shape[:2]
    place = np.floor(np.nan_to_num(uv) % 1.0 * (width, height)).astype(np.int64)
    rows, columns = height - 1 - np.clip(place[:, 1], 0, height - 1), np.clip(place[:, 0], 0, width - 1)
    return np.asarray(material.texture[rows, columns] / np.float32(255), np.float32)


def luminance(colours: FloatArray) -> FloatArray:
    """Rec. 709 luma of colours (..., 3)."""
    return np.asarray(colours @ np.array([0.2126, 0.7152, 0.0722], np.float32))


def _material(
    name: str, lines: Iterable[list[str]], archive: ZipFile, folder: str, names: Mapping[str, str]
) -> Material:
    fields = {words[0]: words[1:] for words in lines if words}
    opacity = float(fields.get("d", ["1"])[-1])
    picture = f"{folder}/{' '.join(fields['map_Kd'])}".lower() if "map_Kd" in fields else ""
    if picture in names:
        texture = _read_texture(archive.read(names[picture]))
        mean = texture.reshape(-1, 3).mean(axis=0, dtype=np.float32) / 255
        return Material(name, mean, texture, float(luminance(mean)), opacity)
    own = np.array(fields.get("Kd", _GREY)[:3], np.float32)
    colour = np.clip(own * opacity + _GLASS * (1 - opacity), 0, 1).astype(np.float32)
    return Material(name, colour, None, float(luminance(colour)), opacity)


def _read_texture(data: bytes) -> ByteArray:
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (2 * TEXTURE_SIZE, 2 * TEXTURE_SIZE))
        picture = image.convert("RGB")
    picture.thumbnail((TEXTURE_SIZE, TEXTURE_SIZE), Image.Resampling.BOX)
    return np.asarray(picture)
