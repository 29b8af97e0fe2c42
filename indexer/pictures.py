"""Bytes of a picture file to arrays, with Pillow. The header is checked before any pixel is decoded."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from indexer.errors import BrokenPicture, EmptyInput, NotAPicture, TooManyPixels
from search.settings import Limits

ByteArray = npt.NDArray[np.uint8]

WORKING_SIDE = 512  # no model looks closer; bounds what a batch of decoded pictures weighs
THUMBNAIL_SIDE = 256
THUMBNAIL_MEDIA_TYPE = "image/jpeg"

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG with further views, as phones write, is among them
_PREMULTIPLIED_WELL = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})  # Pillow scales these as they are
_WITH_ALPHA = ("RGBA", "LA")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
_MAY_HAVE_A_TRANSPARENT_COLOUR = frozenset({"1", "L", "P", "RGB"})

warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # odd tags of odd files are nobody's concern
Image.init()  # or Pillow knows some formats only after it has failed at another file

# Pillow's own limit is a warning at one size and an error without a size at another; `open_picture` checks every
# header against `Limits.pixels` before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None


def open_picture(data: bytes, limits: Limits, name: str) -> Image.Image:
    """Read the header of a picture file; its pixels stay undecoded.

    Raises `EmptyInput`, `NotAPicture`, `BrokenPicture`, `TooManyPixels`.
    """
    if not data:
        raise EmptyInput(f"{name} is empty; a picture file was expected")
    try:
        with decoding(name):
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except BrokenPicture as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise NotAPicture(f"{name} is not a picture: its content is none of {', '.join(FORMATS)}") from error
        raise
    width, height = image.size
    if width * height > limits.pixels:
        raise TooManyPixels(f"{name} has {width} x {height} pixels; at most {limits.pixels:,} are allowed")
    return image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises into `BrokenPicture`: at damaged bytes a decoder may fail in any way."""
    try:
        yield
    except Exception as error:
        sentence = " ".join(str(error).split()) or type(error).__name__
        raise BrokenPicture(f"{name} is a damaged picture: {sentence}") from error


def decode_picture(data: bytes, limits: Limits, name: str) -> ByteArray:
    """Upright RGB on white: uint8 (H, W, 3), sides at most `WORKING_SIDE`. Raises `DecodeError`."""
    image = _upright(data, limits, name)
    with decoding(name):
        return np.asarray(_on(image, WHITE))


def decode_drawing(data: bytes, limits: Limits, name: str) -> ByteArray:
    """Upright grey: uint8 (H, W), sides at most `WORKING_SIDE`; transparent paper gets the shade strokes stand out on.

    Raises `DecodeError`.
    """
    image = _upright(data, limits, name)
    with decoding(name):
        return np.asarray(_on(image, _paper(image)).convert("L"))


def decode_normal(data: bytes, limits: Limits, name: str) -> ByteArray:
    """Surface normals as stored, never rotated: uint8 (H, W, 3), sides at most `WORKING_SIDE`. Raises `DecodeError`."""
    image = open_picture(data, limits, name)
    with decoding(name):
        image.load()
        return np.asarray(_on(_shrunk(_scalable(image)), WHITE))


def thumbnail(picture: ByteArray) -> bytes:
    """A JPEG of uint8 (H, W, 3) with sides of at most `THUMBNAIL_SIDE`."""
    image = Image.fromarray(picture)
    # Of the working size every four pixels become their mean, which takes a fifth of the time and looks the same.
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BICUBIC, reducing_gap=1.0)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def _upright(data: bytes, limits: Limits, name: str) -> Image.Image:
    image = open_picture(data, limits, name)
    with decoding(name):
        # JPEG only: decodes at 1/2, 1/4 or 1/8 of the size, whichever is still at least the working size.
        image.draft(None, (WORKING_SIDE, WORKING_SIDE))
        image.load()  # of an animation: the first frame
        small = _shrunk(_scalable(image))
        ImageOps.exif_transpose(small, in_place=True)
        return small


def _scalable(image: Image.Image) -> Image.Image:
    """The picture in a mode that can be scaled without mixing palette numbers or losing transparency."""
    if image.mode in _MAY_HAVE_A_TRANSPARENT_COLOUR and "transparency" in image.info:
        return _like(image, image.convert("RGBA"))
    if image.mode in _PREMULTIPLIED_WELL:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _like(image, Image.fromarray(_as_bytes(np.asarray(image))))
    if image.mode == "1":
        return _like(image, image.convert("L"))
    return _like(image, image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB"))


def _like(source: Image.Image, converted: Image.Image) -> Image.Image:
    """Keep what says which way is up: a converted copy of some modes forgets it."""
    converted.info.setdefault("exif", source.getexif().tobytes())
    return converted


def _as_bytes(values: npt.NDArray[np.generic]) -> ByteArray:
    """Grey of more than 8 bits as uint8: integers are taken as 16-bit, floats are stretched over their range."""
    if np.issubdtype(values.dtype, np.integer):
        return cast(ByteArray, (np.clip(values, 0, 65535) // 257).astype(np.uint8))
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    return cast(ByteArray, ((finite - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8))


def _shrunk(image: Image.Image) -> Image.Image:
    """The picture with sides of at most `WORKING_SIDE`, its proportions kept."""
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


def _on(image: Image.Image, paper: tuple[int, int, int]) -> Image.Image:
    """RGB, with `paper` where something shines through."""
    if image.mode not in _WITH_ALPHA:
        return image.convert("RGB")
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, paper), coloured).convert("RGB")


def _paper(image: Image.Image) -> tuple[int, int, int]:
    """Black under strokes that are light and white under others, or white strokes would be lost."""
    if image.mode not in _WITH_ALPHA:
        return WHITE
    grey, alpha = np.moveaxis(np.asarray(image.convert("LA"), dtype=np.float64), 2, 0)
    light = (grey * alpha).sum() > 127.5 * alpha.sum()
    return BLACK if light else WHITE
