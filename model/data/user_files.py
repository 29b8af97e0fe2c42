"""Files of modalities as people have them, in the forms that `anyseek index` takes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.data.codecs import decode_value
from model.data.errors import SampleInvalid
from model.data.pictures import read_drawing, read_map, read_picture
from model.data.samples import Caption, Origin
from model.drawing import ByteArray
from model.embedder import FloatArray, Regions
from model.modality import DECLARED, Content

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_MAP_ENDINGS = (".png", ".npy")


def read_user_file(modality: str, path: Path, classes: Mapping[int, str]) -> Any:
    """The value in a file; `classes` names the ids of region maps. Raises `SampleInvalid`, naming the file."""
    try:
        data = path.read_bytes()
        if modality in ("semseg", "instances"):
            return Regions(_numbers(path, data), classes)
        return _READERS[modality](path, data) if modality in _READERS else decode_value(f"{modality}.x", data)
    except OSError as error:
        raise SampleInvalid(f"{path} cannot be read: {error.strerror}") from error
    except (SampleInvalid, ValueError) as error:
        raise SampleInvalid(f"{path}: {error}") from error


def endings_of(modality: str) -> tuple[str, ...]:
    """Which files can be of a modality, by their endings in lower case."""
    return _ENDINGS.get(modality, (".npy",))


def read_classes(path: Path) -> dict[int, str]:
    """Names of ids from a JSON file `{"0": "sky"}`; none if there is no file. Raises `SampleInvalid`."""
    try:
        return {int(number): str(name) for number, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise SampleInvalid(f'{path} does not name ids as {{"0": "sky"}} does: {error}') from error


def _picture(path: Path, data: bytes) -> ByteArray:
    return read_picture(data)


def _drawing(path: Path, data: bytes) -> ByteArray:
    return read_drawing(data)


def _depth(path: Path, data: bytes) -> FloatArray:
    """0 and what is not finite was not measured. Units are the file's own."""
    values: FloatArray = _numbers(path, data).astype(np.float32)
    values[~np.isfinite(values) | (values == 0)] = np.nan
    if np.isnan(values).all():
        raise SampleInvalid("it has no measured pixel: all are 0 or not a number")
    return values


def _numbers(path: Path, data: bytes) -> Any:
    """One number a pixel (H, W), from a grey PNG or an NPY array."""
    if path.suffix.lower() != ".npy":
        return read_map(data)
    array = decode_value("array.npy", data)
    if array.ndim != 2 or not array.size:
        raise SampleInvalid(f"it has the shape {array.shape}; a map has one number a pixel, (height, width)")
    return array


def _captions(path: Path, data: bytes) -> tuple[Caption, ...]:
    """One caption a line in a .txt; a .json as shards have it."""
    if path.suffix.lower() == ".json":
        return tuple(decode_value("caption.json", data))
    lines = [" ".join(line.split()) for line in data.decode("utf-8").splitlines()]
    found = tuple(Caption(line, Origin.HUMAN) for line in lines if line)
    if not found:
        raise SampleInvalid("it has no words")
    return found


_OF_CONTENT = {Content.PICTURE: _picture, Content.DRAWING: _drawing, Content.DEPTH: _depth}
_READERS: Mapping[str, Callable[[Path, bytes], Any]] = {
    "rgb": _picture,
    "normal": _picture,
    "canny_edge": _drawing,
    "soft_edge": _drawing,
    "line_drawing": _drawing,
    "depth": _depth,
    "caption": _captions,
    **{name: _OF_CONTENT[modality.content] for name, modality in DECLARED.items()},
}
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("rgb", "canny_edge", "soft_edge", "line_drawing"), PICTURE_ENDINGS),
    "normal": (".png",),
    **dict.fromkeys(("depth", "semseg", "instances"), _MAP_ENDINGS),
    "caption": (".txt", ".json"),
    **dict.fromkeys(("color_palette", "metadata", "bounding_boxes", "human_pose", "sam_instance"), (".json",)),
    **{name: modality.suffixes for name, modality in DECLARED.items()},
}
MODALITIES_OF_FOLDERS = frozenset(_ENDINGS)  # a sub-folder of such a name makes a folder an aligned one
