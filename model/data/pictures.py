"""Reading picture files as sources find them: any format Pillow knows, upright, on white, of a bounded size."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from model.data.errors import SampleInvalid
from model.drawing import ByteArray

MOST_PIXELS = 50_000_000
_MAP_MODES = frozenset({"L", "P", "1", "I", "I;16", "I;16B", "I;16L"})


def read_picture(data: bytes) -> ByteArray:
    """uint8 (H, W, 3), upright, transparent parts white. Raises `SampleInvalid`."""
    try:
        picture = ImageOps.exif_transpose(_opened(data)).convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleInvalid(f"it is no picture that can be read: {error}") from error
    paper = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(paper, picture).convert("RGB"))


def read_drawing(data: bytes) -> ByteArray:
    """uint8 (H, W), as light or dark as it is. Raises `SampleInvalid`."""
    return np.asarray(Image.fromarray(read_picture(data)).convert("L"))


def read_map(data: bytes) -> npt.NDArray[np.generic]:
    """One number a pixel (H, W), from a grey or palette picture. Raises `SampleInvalid`."""
    try:
        picture = _opened(data)
        if picture.mode not in _MAP_MODES:
            raise SampleInvalid(f"it is a picture of kind {picture.mode}; a map has one number a pixel (a grey PNG)")
        return np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise SampleInvalid(f"it is no map that can be read: {error}") from error


def _opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    if picture.width * picture.height > MOST_PIXELS:
        raise SampleInvalid(f"it has {picture.width} x {picture.height} pixels; at most {MOST_PIXELS:,} are read")
    return picture
