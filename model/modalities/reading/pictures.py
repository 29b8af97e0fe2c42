"""Bytes of a picture file to arrays, with Pillow. The header is checked before any pixel is decoded."""

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.containers import (
    KNOWN_FORMATS,
    find_preview,
    is_jxl,
    is_raw,
    jxl_size,
    open_container,
    tiff_tables,
)
from anyseek.model.modalities.reading.encoded import EncodedFile
from anyseek.model.modalities.reading.errors import (
    BrokenPicture,
    DecodeError,
    EmptyInput,
    NoPreview,
    NotAPicture,
)
from anyseek.model.modalities.reading.jpeg_scans import JPEGS, MAX_SCANS, read_scans

# Of 255: profiles that are sRGB but for the rounding of their tables differ by less.
_SAME_COLOUR = 2
_MAX_PROFILE_BYTES = 4 * 1024 * 1024  # printers' profiles have some 500 KB
_CACHED_PROFILES = 16
_MODES = {"RGB": ("RGB", "RGBA"), "CMYK": ("CMYK",), "GRAY": ("L",)}  # Pillow's, by the profile's colour space

_transform_lock = threading.Lock()


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB, RGBA where it was RGBA; itself where it is sRGB or its profile cannot be used."""
    transform = _srgb_transform(image, image.mode)
    if transform is None:
        return image
    converted = transform.apply(image)
    converted.info.pop("icc_profile", None)
    return converted


def needs_srgb_conversion(image: Image.Image) -> bool:
    """Whether `to_srgb` will change a picture of which only the header has been read."""
    return _srgb_transform(image, "RGB" if image.mode in ("P", "PA") else image.mode) is not None


def _srgb_transform(image: Image.Image, mode: str) -> ImageCms.ImageCmsTransform | None:
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_PROFILE_BYTES:
        return None
    with _transform_lock:  # once for each profile, not once for each thread
        return _build_transform(profile, mode)


@lru_cache(_CACHED_PROFILES)
def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None if that changes nothing, or the profile is damaged or of another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in _MODES.get(source.profile.xcolor_space.strip(), ()):
            return None
        wanted = "RGBA" if mode == "RGBA" else "RGB"
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, wanted, intent, flags)
        return transform if _changes_colours(transform, mode) else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # as browsers do: the numbers are then taken for sRGB


def _changes_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform changes any of a grid of colours; one from CMYK always does."""
    if mode == "CMYK":
        return True
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "L":
        before = Image.fromarray(levels[np.newaxis])
    else:
        colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
        before = Image.fromarray(colours).convert(mode)
    after = transform.apply(before)
    apart = np.asarray(after.convert("RGB"), np.int16) - np.asarray(before.convert("RGB"), np.int16)
    return int(np.abs(apart).max()) > _SAME_COLOUR


THUMBNAIL_SIDE = 256
THUMBNAIL_MEDIA_TYPE = "image/jpeg"

RAW = "RAW"  # `format` of the preview of a camera RAW
_SCALABLE_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})  # Pillow scales these as they are
_WITH_ALPHA = ("RGBA", "LA")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
_TRANSPARENT_COLOUR_MODES = frozenset({"1", "L", "P", "RGB"})
_ORIENTATION = 0x0112
# How a stored picture is turned upright, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
_MAX_TILE_PIXELS = 4096 * 4096  # pixels of a TIFF's tile that may be larger than its picture
_CHUNK = 1 << 20  # numbers of a picture of floats or of 32 bits that are turned into bytes at once

warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # warnings about odd tags help nobody
Image.init()  # or Pillow knows some formats only after it has failed at another file

# Pillow's own limit is a warning at one size and an error without a size at another; `open_picture` checks every
# header against `FileLimits.pixels` before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None


def open_picture(file: EncodedFile) -> Image.Image:
    """Read the header of a picture file; its pixels stay undecoded. Of a camera RAW it is its largest preview, with
    what the camera wrote in the EXIF of the whole file.

    Raises `EmptyInput`, `NotAPicture`, `BrokenPicture`, `TooManyPixels`, `NoPreview`, `FormatNotInstalled`, and
    `RequestTooCostly` where the file has a budget.
    """
    if not file.data:
        raise EmptyInput(f"{file.name} is empty; it must be a picture file")
    if is_raw(file.data):
        return _open_raw(file)
    if is_jxl(file.data):
        return _open_jxl(file)
    image = _open(file)
    cost = read_scans(file.data).cost if image.format in JPEGS else 1
    file.take_pixels(image.width * image.height, f"{image.width} x {image.height} pixels", cost)
    return image


def load_picture(file: EncodedFile) -> Image.Image:
    """A picture with its pixels, as stored. Raises `DecodeError`."""
    image = open_picture(file)
    with decode_errors(file.name):
        image.load()
    return image


def _open(file: EncodedFile) -> Image.Image:
    with decode_errors(file.name):
        try:
            image = open_container(file)
            _check_tiles(file, image)
            _check_scans(file, image)
            return image
        except UnidentifiedImageError as error:
            raise NotAPicture(
                f"{file.name} is not a picture: its content is none of {', '.join(KNOWN_FORMATS)}"
            ) from error


def _check_tiles(file: EncodedFile, image: Image.Image) -> None:
    """Raises `BrokenPicture` for a TIFF with huge tiles, for each of which libtiff allocates memory as a whole."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    width, height = (int(image.tag_v2.get(tag, 0)) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    if width * height > max(image.width * image.height, _MAX_TILE_PIXELS):
        raise BrokenPicture(
            f"{file.name} is a damaged picture: it has tiles of {width} x {height} pixels for {image.width} x "
            f"{image.height}"
        )


def _check_scans(file: EncodedFile, image: Image.Image) -> None:
    """Raises `BrokenPicture` for a JPEG with more than `MAX_SCANS` scans."""
    if image.format in JPEGS and read_scans(file.data).count > MAX_SCANS:
        raise BrokenPicture(
            f"{file.name} is a damaged picture: it has more than {MAX_SCANS} scans, and encoders write about ten; "
            "save it again as JPEG or PNG"
        )


def _open_jxl(file: EncodedFile) -> Image.Image:
    """Its decoder decodes while it opens, so the size is checked before; and it has turned the picture upright."""
    size = jxl_size(file.data)
    if size is None:
        raise BrokenPicture(f"{file.name} is a damaged picture: its header has no size")
    file.take_pixels(size[0] * size[1], f"{size[0]} x {size[1]} pixels")
    image = _open(file)
    if not getattr(image, "jpeg", None):  # a JPEG that was packed into the file comes out as it went in
        image.getexif().pop(_ORIENTATION, None)
    return image


def _open_raw(file: EncodedFile) -> Image.Image:
    """The preview, whose own orientation counts if it has one: makers store it upright or as the sensor lay."""
    preview = find_preview(file.data)
    if preview is None:
        raise NoPreview(f"{file.name} is a camera RAW without a JPEG preview in it; export it as JPEG or TIFF")
    data = file.data[preview.start :]
    size = f"{preview.width} x {preview.height} pixels"
    file.take_pixels(preview.width * preview.height, size, read_scans(data).cost)
    image = _open(replace(file, data=data))
    image.format = RAW
    tables = tiff_tables(file.data)
    if tables is not None:
        exif = image.getexif()
        own = exif.get(_ORIENTATION)
        with suppress(BrokenPicture), decode_errors(file.name):  # a preview is good without them
            exif.load(tables)
        if own is not None:
            exif[_ORIENTATION] = own
    return image


def exif_of(image: Image.Image) -> Image.Exif:
    """The EXIF of a picture of which only the header has been read. That of a PNG may also stand behind its pixels;
    there it is not looked for, because Pillow would decode them.
    """
    if image.format == "PNG" and not image.info.keys() & {"exif", "Raw profile type exif"}:
        return Image.Exif()
    return image.getexif()


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the upright picture, of which only the header has been read."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow has turned its size already, and will turn its pixels
        return width, height
    return (height, width) if exif_of(image).get(_ORIENTATION) in _TRANSPOSED_ORIENTATIONS else (width, height)


def decoding_version(image: Image.Image) -> str:
    """The version of the decoder: higher for pictures decoded by their colour profile or from a RAW preview."""
    return "2" if image.format == RAW or needs_srgb_conversion(image) else "1"


@contextmanager
def decode_errors(name: str) -> Iterator[None]:
    """Turn any exception of Pillow into `BrokenPicture`: on damaged bytes a decoder may raise anything."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        sentence = " ".join(str(error).split()) or type(error).__name__
        raise BrokenPicture(f"{name} is a damaged picture: {sentence}") from error


def decode_picture(file: EncodedFile) -> ByteArray:
    """Upright sRGB on white: uint8 (H, W, 3). Raises `DecodeError`."""
    image = _load_upright(file)
    with decode_errors(file.name):
        return np.asarray(_flatten_on(to_srgb(image), WHITE))


def decode_for_crop(file: EncodedFile, width: float, height: float, side: int) -> tuple[ByteArray, tuple[int, int]]:
    """An upright picture, as `decode_picture` returns it, for a crop of `width` x `height` (shares of its sides).

    It has the size in the file, or less where that is cheaper and leaves the crop `side` pixels wide and high. Also
    returns the size in the file. Raises `DecodeError`.
    """
    image = open_picture(file)
    with decode_errors(file.name):
        stored, (wide, high) = image.size, upright_size(image)
        scale = side / min(width * wide, height * high)
        if scale < 1:
            image.draft(None, (math.ceil(scale * image.width), math.ceil(scale * image.height)))
        image.load()
        whole = _turn_upright(_to_scalable_mode(image), image)
        size = stored if whole.size == image.size else stored[::-1]  # a PNG may say behind its pixels how it lies
        return np.asarray(_flatten_on(to_srgb(whole), WHITE)), size


def decode_drawing(file: EncodedFile) -> ByteArray:
    """Upright grey uint8 (H, W); transparent paper is white, black under light strokes. Raises `DecodeError`."""
    image = _load_upright(file)
    with decode_errors(file.name):
        paper = WHITE
        if image.mode in _WITH_ALPHA:  # black under strokes that are light, or these would be lost
            grey, alpha = np.moveaxis(np.asarray(image.convert("LA"), dtype=np.float64), 2, 0)
            paper = BLACK if (grey * alpha).sum() > 127.5 * alpha.sum() else WHITE
        return np.asarray(_flatten_on(image, paper).convert("L"))


def decode_normal(file: EncodedFile) -> ByteArray:
    """Surface normals as stored, never rotated: uint8 (H, W, 3). Raises `DecodeError`."""
    image = load_picture(file)
    with decode_errors(file.name):
        return np.asarray(_flatten_on(_shrink(_to_scalable_mode(image), file.side), WHITE))


def thumbnail(picture: ByteArray) -> bytes:
    """A JPEG of uint8 (H, W, 3) with sides of at most `THUMBNAIL_SIDE`."""
    image = Image.fromarray(picture)
    # Of the working size every four pixels become their mean, which takes a fifth of the time and looks the same.
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BICUBIC, reducing_gap=1.0)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def _load_upright(file: EncodedFile) -> Image.Image:
    image = open_picture(file)
    with decode_errors(file.name):
        if file.side is not None:
            # JPEG only: decodes at 1/2, 1/4 or 1/8 of the size, whichever is still at least the wanted one.
            image.draft(None, (file.side, file.side))
        image.load()  # of an animation: the first frame
        return _turn_upright(_shrink(_to_scalable_mode(image), file.side), image)


def _turn_upright(pixels: Image.Image, stored: Image.Image) -> Image.Image:
    """The pixels of a stored picture, of which everything has been read, turned upright."""
    turn = _TURNS.get(stored.getexif().get(_ORIENTATION, 1))
    return pixels if turn is None else pixels.transpose(turn)


def _to_scalable_mode(image: Image.Image) -> Image.Image:
    """The picture in a mode that can be scaled without mixing palette numbers or losing transparency."""
    if image.mode in _TRANSPARENT_COLOUR_MODES and "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in _SCALABLE_MODES:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_uint8(np.asarray(image)))
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")


def _to_uint8(values: npt.NDArray[np.generic]) -> ByteArray:
    """Grey of more than 8 bits as uint8: integers are taken as 16-bit, floats are stretched over their range.

    In chunks: intermediate arrays would take several times the memory of the picture.
    """
    flat = values.reshape(-1)
    shades = np.empty(flat.shape, np.uint8)
    pieces = [slice(start, start + _CHUNK) for start in range(0, flat.size, _CHUNK)]
    if np.issubdtype(values.dtype, np.integer):
        for piece in pieces:
            shades[piece] = np.clip(flat[piece], 0, 65535) // 257
        return shades.reshape(values.shape)
    ranges = [
        (float(finite.min()), float(finite.max())) for finite in (_finite_values(flat[piece]) for piece in pieces)
    ]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    for piece in pieces:
        shades[piece] = ((_finite_values(flat[piece]) - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
    return shades.reshape(values.shape)


def _finite_values(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _shrink(image: Image.Image, side: int | None) -> Image.Image:
    """Scale the picture down to sides of at most `side`, keeping its proportions; unchanged if `side` is None."""
    if side is not None:
        image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


def _flatten_on(image: Image.Image, paper: tuple[int, int, int]) -> Image.Image:
    """RGB, with `paper` behind transparent pixels."""
    if image.mode not in _WITH_ALPHA:
        return image.convert("RGB")
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, paper), coloured).convert("RGB")
