"""Pictures of other colour spaces to sRGB, through the ICC profile that comes with them.

A picture whose profile is sRGB under whatever name, or that has none, keeps its pixels to the bit.
"""

import io
import threading
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# Of 255: profiles that are sRGB but for the rounding of their tables differ by less.
_SAME = 2
_LONGEST_PROFILE = 4 * 1024 * 1024  # printers' profiles have some 500 KB
_PROFILES_KEPT = 16
_MODES = {"RGB": ("RGB", "RGBA"), "CMYK": ("CMYK",), "GRAY": ("L",)}  # Pillow's, by the profile's colour space

_making = threading.Lock()


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB, RGBA where it was RGBA; itself where it is sRGB or its profile cannot be used."""
    transform = _transform_of(image, image.mode)
    if transform is None:
        return image
    converted = transform.apply(image)
    converted.info.pop("icc_profile", None)
    return converted


def is_converted(image: Image.Image) -> bool:
    """Whether `to_srgb` will change a picture of which only the header has been read."""
    return _transform_of(image, "RGB" if image.mode in ("P", "PA") else image.mode) is not None


def _transform_of(image: Image.Image, mode: str) -> ImageCms.ImageCmsTransform | None:
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _LONGEST_PROFILE:
        return None
    with _making:  # once for each profile, not once for each thread
        return _transform(profile, mode)


@lru_cache(_PROFILES_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None if that changes nothing, or the profile is damaged or of another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in _MODES.get(source.profile.xcolor_space.strip(), ()):
            return None
        wanted = "RGBA" if mode == "RGBA" else "RGB"
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, wanted, intent, flags)
        return transform if _changes(transform, mode) else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # as browsers do: the numbers are then taken for sRGB


def _changes(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform moves any of some evenly spread colours; one from CMYK always does."""
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
    return int(np.abs(apart).max()) > _SAME
