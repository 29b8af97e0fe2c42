"""Bytes of a picture file to arrays, with Pillow. The header is checked before any pixel is decoded."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from model.modalities.drawings import ByteArray
from model.modalities.reading.encoded import Encoded
from model.modalities.reading.errors import BrokenPicture, EmptyInput, NotAPicture, TooManyPixels

THUMBNAIL_SIDE = 256
THUMBNAIL_MEDIA_TYPE = "image/jpeg"

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG with further views, as phones write, is among them
_PREMULTIPLIED_WELL = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})  # Pillow scales these as they are
_WITH_ALPHA = ("RGBA", "LA")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
_MAY_HAVE_A_TRANSPARENT_COLOUR = frozenset({"1", "L", "P", "RGB"})

warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # warnings about odd tags help nobody
Image.init()  # or Pillow knows some formats only after it has failed at another file

# Pillow's own limit is a warning at one size and an error without a size at another; `open_picture` checks every
# header against `FileLimits.pixels` before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None


def open_picture(file: Encoded) -> Image.Image:
    """Read the header of a picture file; its pixels stay undecoded.

    Raises `EmptyInput`, `NotAPicture`, `BrokenPicture`, `TooManyPixels`.
    """
    if not file.data:
        raise EmptyInput(f"{file.name} is empty; it must be a picture file")
    try:
        with decoding(file.name):
            image = Image.open(io.BytesIO(file.data), formats=FORMATS)
    except BrokenPicture as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise NotAPicture(f"{file.name} is not a picture: its content is none of {', '.join(FORMATS)}") from error
        raise
    width, height = image.size
    most = file.limits.pixels
    if width * height > most:
        raise TooManyPixels(f"{file.name} has {width} x {height} pixels; at most {most:,} are allowed")
    return image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises into `BrokenPicture`: at damaged bytes a decoder may fail in any way."""
    try:
        yield
    except Exception as error:
        sentence = " ".join(str(error).split()) or type(error).__name__
        raise BrokenPicture(f"{name} is a damaged picture: {sentence}") from error


def decode_picture(file: Encoded) -> ByteArray:
    """Upright RGB on white: uint8 (H, W, 3). Raises `DecodeError`."""
    image = _upright(file)
    with decoding(file.name):
        return np.asarray(_on(image, WHITE))


def decode_drawing(file: Encoded) -> ByteArray:
    """Upright grey: uint8 (H, W); transparent paper gets the shade strokes stand out on. Raises `DecodeError`."""
    image = _upright(file)
    with decoding(file.name):
        return np.asarray(_on(image, _paper(image)).convert("L"))


def decode_normal(file: Encoded) -> ByteArray:
    """Surface normals as stored, never rotated: uint8 (H, W, 3). Raises `DecodeError`."""
    image = open_picture(file)
    with decoding(file.name):
        image.load()
        return np.asarray(_on(_shrunk(_scalable(image), file.side), WHITE))


def thumbnail(picture: ByteArray) -> bytes:
    """A JPEG of uint8 (H, W, 3) with sides of at most `THUMBNAIL_SIDE`."""
    image = Image.fromarray(picture)
    # Of the working size every four pixels become their mean, which takes a fifth of the time and looks the same.
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BICUBIC, reducing_gap=1.0)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def _upright(file: Encoded) -> Image.Image:
    image = open_picture(file)
    with decoding(file.name):
        if file.side is not None:
            # JPEG only: decodes at 1/2, 1/4 or 1/8 of the size, whichever is still at least the wanted one.
            image.draft(None, (file.side, file.side))
        image.load()  # of an animation: the first frame
        small = _shrunk(_scalable(image), file.side)
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
    """Keep the orientation, which a converted copy loses in some modes."""
    converted.info.setdefault("exif", source.getexif().tobytes())
    return converted


def _as_bytes(values: npt.NDArray[np.generic]) -> ByteArray:
    """Grey of more than 8 bits as uint8: integers are taken as 16-bit, floats are stretched over their range."""
    if np.issubdtype(values.dtype, np.integer):
        return cast(ByteArray, (np.clip(values, 0, 65535) // 257).astype(np.uint8))
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    return cast(ByteArray, ((finite - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8))


def _shrunk(image: Image.Image, side: int | None) -> Image.Image:
    """The picture with sides of at most `side`, its proportions kept; as it is where there is no such bound."""
    if side is not None:
        image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


def _on(image: Image.Image, paper: tuple[int, int, int]) -> Image.Image:
    """RGB, with `paper` behind transparent pixels."""
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
