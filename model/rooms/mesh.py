"""Meshes and materials of furniture, read from the OBJ and MTL files inside the archives; lengths are metres."""

import io
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.rooms.catalogue import Furniture
from anyseek.model.seam import FloatArray

TEXTURE_SIZE = 256  # pixels of the longer side; more cannot be seen in a small picture
_GLASS = np.array([0.78, 0.86, 0.88], np.float32)  # what is seen of a pane instead of what is behind it
_GREY = (0.7, 0.7, 0.7)
_INVISIBLE = 0.05  # opacity below which a surface is left out
_CREASE = np.cos(np.deg2rad(35.0))  # faces that meet at a larger angle meet in an edge
_GRID = 1e-4  # metres within which corners are one vertex

Corner = tuple[int, int]  # indices of a vertex and of its texture coordinates, -1 for none


@dataclass(frozen=True, eq=False)
class Material:
    """The look of a surface: `texture` uint8 (h, w, 3) in sRGB, or `colour` float32 (3,) in sRGB [0, 1] if there is
    none.

    `luminance` is the mean over the material, in [0, 1]. `opacity` in [0, 1]: nearly transparent surfaces are left
    out, and rays hit all others, even a pane of glass.
    """

    colour: FloatArray
    texture: ByteArray | None
    luminance: float
    opacity: float


DEFAULT = Material(np.array(_GREY, np.float32), None, 0.7, 1.0)


def _read_materials(archive: ZipFile, path: str) -> dict[str, Material]:
    """The materials of an MTL file by name, none if there is no such file; a missing texture leaves the colour."""
    names = {name.lower(): name for name in archive.namelist()}
    folder = path.rpartition("/")[0]
    text = archive.read(names[path.lower()]).decode("latin-1") if path.lower() in names else ""
    materials = {}
    for block in text.split("newmtl ")[1:]:
        name, *lines = (line.strip() for line in block.splitlines())
        fields = {words[0]: words[1:] for line in lines if (words := line.split())}
        opacity = float(fields.get("d", ["1"])[-1])
        picture = f"{folder}/{' '.join(fields['map_Kd'])}".lower() if "map_Kd" in fields else ""
        if picture in names:
            texture = _read_texture(archive.read(names[picture]))
            colour = np.asarray(texture.reshape(-1, 3).mean(axis=0, dtype=np.float32) / 255)
        else:
            texture = None
            own = np.array(fields.get("Kd", _GREY)[:3], np.float32)
            colour = np.clip(own * opacity + _GLASS * (1 - opacity), 0, 1).astype(np.float32)
        materials[name] = Material(colour, texture, float(luminance(colour)), opacity)
    return materials


def _read_texture(data: bytes) -> ByteArray:
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (2 * TEXTURE_SIZE, 2 * TEXTURE_SIZE))
        picture = image.convert("RGB")
    picture.thumbnail((TEXTURE_SIZE, TEXTURE_SIZE), Image.Resampling.BOX)
    return np.asarray(picture)


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


@dataclass(frozen=True, eq=False)
class Mesh:
    """A piece of furniture with the middle of its base at the origin, facing z.

    `triangles` and `normals` (unit, one a corner): float32 (n, 3, 3); `uv` float32 (n, 3, 2); `material` int16 (n,),
    indices into `materials`.
    """

    triangles: FloatArray
    normals: FloatArray
    uv: FloatArray
    material: npt.NDArray[np.int16]
    materials: tuple[Material, ...]

    @property
    def areas(self) -> FloatArray:
        """Square metres of each triangle, (n,)."""
        edges = self.triangles[:, 1:] - self.triangles[:, :1]
        return np.asarray(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2)


@cache
def load_mesh(furniture: Furniture) -> Mesh:
    """The mesh of an object in its catalogue size, kept for the life of the process. Raises `SampleInvalid`."""
    try:
        with ZipFile(furniture.archive) as archive:
            obj = _parse(archive.read(furniture.model).decode("latin-1"))
            path = (
                f"{furniture.model.rpartition('/')[0]}/{obj.lines['mtllib'][0].strip()}" if obj.lines["mtllib"] else ""
            )
            materials = _read_materials(archive, path)
        return _build(obj, materials, furniture)
    except (OSError, BadZipFile, KeyError, ValueError, IndexError) as error:
        raise SampleInvalid(f"the model of {furniture.id} cannot be read: {error!r}") from error


class _Obj(NamedTuple):
    """An OBJ file: `lines` by keyword; triangles as indices of vertices and texture coordinates; their materials."""

    lines: dict[str, list[str]]
    faces: list[tuple[Corner, Corner, Corner]]
    materials: list[str]


def _parse(text: str) -> _Obj:
    obj = _Obj(defaultdict(list), [], [])
    material = ""
    for line in text.replace("\\\n", " ").splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "f":
            corners = [_corner(word, len(obj.lines["v"]), len(obj.lines["vt"])) for word in rest.split()]
            obj.faces.extend((corners[0], *pair) for pair in pairwise(corners[1:]))
            obj.materials.extend([material] * (len(corners) - 2))
        elif keyword == "usemtl":
            material = rest.strip()
        else:
            obj.lines[keyword].append(rest)
    return obj


def _corner(word: str, vertices: int, coordinates: int) -> Corner:
    """`5`, `5/2`, `5//3` or `5/2/3`, counted from 1, or backwards from the last if negative."""
    vertex, _, rest = word.partition("/")
    uv = rest.partition("/")[0]
    return _index(int(vertex), vertices), _index(int(uv), coordinates) if uv else -1


def _index(number: int, count: int) -> int:
    return number - 1 if number > 0 else count + number


def _numbers(lines: list[str], count: int) -> FloatArray:
    return np.array([line.split()[:count] for line in lines], np.float32).reshape(-1, count)


def _build(obj: _Obj, materials: dict[str, Material], furniture: Furniture) -> Mesh:
    """The visible faces: turned as the catalogue says, stretched to its size, the middle of the base at the origin."""
    known = [*dict.fromkeys(obj.materials)]
    if not known:
        raise ValueError("it has no faces")
    faces = np.array(obj.faces, np.int64).reshape(-1, 3, 2)
    kept = np.array([materials.get(name, DEFAULT).opacity >= _INVISIBLE for name in obj.materials], bool)
    turned = _numbers(obj.lines["v"], 3)[faces[kept, :, 0]] @ np.array(furniture.rotation, np.float32).reshape(3, 3).T
    low, high = turned.reshape(-1, 3).min(axis=0), turned.reshape(-1, 3).max(axis=0)
    base = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2], np.float32)
    scale = np.array(furniture.size, np.float32) / np.maximum(high - low, 1e-9)
    triangles = np.asarray((turned - base) * scale, np.float32)
    edges = triangles[:, 1:] - triangles[:, :1]
    solid = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) > 1e-12
    if not solid.any():
        raise ValueError("none of its faces has an area")
    uv = np.vstack([_numbers(obj.lines["vt"], 2), np.zeros((1, 2), np.float32)])  # the last for corners without
    numbers = {name: number for number, name in enumerate(known)}
    return Mesh(
        triangles=triangles[solid],
        normals=corner_normals(triangles[solid]),
        uv=uv[faces[kept, :, 1]][solid],
        material=np.array([numbers[name] for name in obj.materials], np.int16)[kept][solid],
        materials=tuple(materials.get(name, DEFAULT) for name in known),
    )


def corner_normals(triangles: FloatArray) -> FloatArray:
    """Unit normals of the corners of triangles (n, 3, 3): the mean over the faces around, but not across edges.

    Faces are weighted by their area. The winding of a face decides to which side its normals point.
    """
    weighted = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    unit = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    places = np.rint(triangles.reshape(-1, 3) / _GRID).astype(np.int64)
    keys = (places[:, 0] * 73856093) ^ (places[:, 1] * 19349663) ^ (places[:, 2] * 83492791)
    vertex = np.unique(keys, return_inverse=True)[1].astype(np.int64)  # corners at one place have one number
    order = np.argsort(vertex, kind="stable")
    starts = np.searchsorted(vertex[order], np.arange(vertex.max() + 2))
    counts = np.diff(starts)
    total = np.zeros((len(vertex), 3), np.float64)
    for step in range(int(counts.max())):
        # The step-th face around each corner's vertex, if it has that many.
        corners = np.flatnonzero(counts[vertex] > step)
        face = order[starts[vertex[corners]] + step] // 3
        agree = np.einsum("ij,ij->i", unit[corners // 3], unit[face])
        near = np.abs(agree) > _CREASE
        total[corners[near]] += weighted[face[near]] * np.sign(agree[near])[:, None]
    length = np.linalg.norm(total, axis=1, keepdims=True)
    smooth = np.where(length > 1e-12, total / np.maximum(length, 1e-12), unit.repeat(3, axis=0))
    return np.asarray(smooth.reshape(-1, 3, 3), np.float32)
