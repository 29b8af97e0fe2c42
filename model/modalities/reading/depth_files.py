"""The numbers of a depth map in any usual file: grey pictures, NPY, NPZ and OpenEXR. What they mean is said elsewhere.

OpenEXR is read by its own package, of the extra `exr`.
"""

import io
import re
import zipfile
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.reading.arrays import MAP_AXES, NumberArray, is_npy, read_npy
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import BadMap, EmptyInput, FormatNotInstalled, TooManyBytes
from anyseek.model.modalities.reading.pictures import decoding, open_picture

_GREY_MODES = frozenset({"L", "I", "I;16", "I;16B", "I;16L", "F"})
_COLOUR_MODES = frozenset({"LA", "RGB", "RGBA", "P"})
_NPZ, _EXR = b"PK\x03\x04", b"\x76\x2f\x31\x01"
_DISTANCE, _NEARNESS = re.compile("depth|distance|range|z"), re.compile("disp|inv")
_EXR_CHANNELS = ("Z", "depth", "Depth", "V", "Y", "R")  # the likeliest first


@dataclass(frozen=True)
class DepthNumbers:
    """The numbers of a map as they are stored: real numbers (H, W).

    `full` is the largest that a pixel of the file can hold, None for floats. `called` is what the file calls them.
    """

    values: NumberArray
    full: int | None
    called: str


def read_depth_numbers(file: Encoded) -> DepthNumbers:
    """Raises `DecodeError`: for colours among others, whose order only their maker knows."""
    if not file.data:
        raise EmptyInput(f"{file.name} is empty; it must be a depth map")
    if is_npy(file):
        return DepthNumbers(read_npy(file, MAP_AXES), None, file.name)
    if file.data.startswith(_NPZ):
        return _read_npz(file)
    if file.data.startswith(_EXR):
        return _read_exr(file)
    return _read_picture(file)


def _read_picture(file: Encoded) -> DepthNumbers:
    image = open_picture(file)
    if image.mode not in _GREY_MODES | _COLOUR_MODES:
        raise BadMap(f"{file.name} is a picture of kind {image.mode}; a map has one number per pixel (a grey PNG)")
    with decoding(file.name):
        image.load()
        values = np.asarray(image if image.mode in _GREY_MODES else image.convert("RGB"))
    if values.ndim == 3:
        values = _grey(file, values)
    full = {"L": 255, "F": None}.get(image.mode, 255 if image.mode in _COLOUR_MODES else 65535)
    return DepthNumbers(values, full, file.name)


def _grey(file: Encoded, colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """One channel of a grey picture that was stored in colour; JPEG lets channels differ a little."""
    apart = colours.max(axis=2).astype(np.int16) - colours.min(axis=2)
    if int(apart.max(initial=0)) > 8:
        raise BadMap(f"{file.name} is a picture in colours; a depth map has one number per pixel: send it in grey")
    return colours[:, :, 1]


def _read_npz(file: Encoded) -> DepthNumbers:
    """The array of an NPZ archive: its only one, or the one that is called depth, distance, disparity or inverse."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist() if entry.filename.endswith(".npy")}
            name = _chosen(file, tuple(sizes))
            if sizes[name] > file.limits.bytes_per_file:
                raise TooManyBytes(f"{file.name}: {name} has {sizes[name]:,} bytes, which is more than is allowed")
            data = archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise BadMap(f"{file.name} is a damaged NPZ archive: {error}") from error
    inner = replace(file, data=data, name=f"{file.name}: {name.removesuffix('.npy')}")
    return DepthNumbers(read_npy(inner, MAP_AXES), None, inner.name)


def _chosen(file: Encoded, names: tuple[str, ...]) -> str:
    named = [name for name in names if _DISTANCE.search(name.lower()) or _NEARNESS.search(name.lower())]
    wanted = names if len(names) == 1 else named
    if len(wanted) != 1:
        held = ", ".join(names[:8]) or "nothing"
        raise BadMap(f"{file.name} holds {held}; an NPZ archive with one array, or one called depth, is wanted")
    return wanted[0]


def _read_exr(file: Encoded) -> DepthNumbers:
    try:
        import OpenEXR
    except ImportError as error:
        raise FormatNotInstalled(f"{file.name} is OpenEXR, which needs pip install 'anyseek[exr]'") from error
    with decoding(file.name):
        header = OpenEXR.File(io.BytesIO(file.data), separate_channels=True, header_only=True).header()
        low, high = header["dataWindow"]
        width, height = (int(side) + 1 for side in high - low)
        file.take_pixels(width * height, f"{width} x {height} pixels")
        channels = OpenEXR.File(io.BytesIO(file.data), separate_channels=True).channels()
        name = _channel(file, tuple(channels))
        return DepthNumbers(np.asarray(channels[name].pixels), None, f"{file.name}: {name}")


def _channel(file: Encoded, channels: tuple[str, ...]) -> str:
    """The channel of distances: Z where a renderer wrote it, or the only one or the first of grey ones."""
    ranks = {name: _EXR_CHANNELS.index(name.rpartition(".")[2]) for name in channels if _is_depth(name)}
    if not ranks:
        raise BadMap(f"{file.name} has the channels {', '.join(channels[:8])}; a depth map has Z, V, Y or R")
    return min(ranks, key=lambda name: ranks[name])


def _is_depth(channel: str) -> bool:
    return channel.rpartition(".")[2] in _EXR_CHANNELS
