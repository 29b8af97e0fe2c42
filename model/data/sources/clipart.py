"""Source of clip art in a tree of folders named by subject, as in Debian's package `openclipart-png`."""

import hashlib
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anyseek.model.config import Config
from anyseek.model.data.contents import read_file_value
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import DataSample, Shares, Split
from anyseek.model.modalities.drawings import ByteArray

_PAPER = 250  # lighter pixels are paper
LICENCE = "Open Clip Art Library (openclipart.org) by its contributors, Creative Commons Public Domain Dedication"


_MIN_BYTES = 2500  # of a file; most smaller ones are arrows and buttons
_MAX_PIXELS = 2_000_000


class ClipartOptions(Config):
    """`path`: the folder."""

    path: Path = Path("/usr/share/openclipart/png")


class ClipartSource:
    """A source whose keys are paths in the folder. Splits are by series, so that variants stay together."""

    licence = LICENCE

    def __init__(self, name: str, options: ClipartOptions, shares: Shares) -> None:
        """List the pictures. Raises `SourceUnavailable` if there are none."""
        self.name = name
        self._root, self._shares = options.path, shares
        files = sorted(options.path.rglob("*.png"))
        self._keys = [file.relative_to(options.path).as_posix() for file in files if _has_usable_size(file)]
        if not self._keys:
            raise SourceUnavailable(f"{options.path} has no clip art; Debian's package openclipart-png has it")
        listing = hashlib.sha256("\n".join(self._keys).encode()).hexdigest()[:16]
        self.origin = f"openclipart, {len(self._keys)} pictures, {listing}"

    def keys(self, split: Split) -> Sequence[str]:
        return [key for key in self._keys if self._shares.split_of(series_of(key)) is split]

    def sample(self, key: str) -> DataSample:
        picture = read_file_value("rgb", self._root / key, {})
        path = Path(key)
        subject = re.sub(r"[_-]+", " ", path.parent.name)  # more reliable than the name: animals/birds/x.png -> birds
        words = " ".join(word for word in path.stem.replace("-", "_").split("_")[:3] if word.isalpha())
        names = {"label": subject, "tags": [words] if words else [], "concept": series_of(key)}
        sizes = {"original_width": picture.shape[1], "original_height": picture.shape[0]}
        return DataSample(key, {"rgb": trim_margins(picture)}, {"medium": "clip art", **names, **sizes})


def trim_margins(picture: ByteArray) -> ByteArray:
    """Crop uint8 (H, W, 3) to its content plus a margin, because much clip art is on a whole page."""
    rows, columns = np.nonzero(picture.min(axis=2) < _PAPER)
    if not len(rows):
        raise SampleInvalid("it is blank")
    margin = max(np.ptp(rows), np.ptp(columns)) // 20 + 1
    top, left = max(rows.min() - margin, 0), max(columns.min() - margin, 0)
    return picture[top : rows.max() + margin + 1, left : columns.max() + margin + 1]


def _has_usable_size(png: Path) -> bool:
    """Whether a picture is neither tiny nor huge, by the size and the header of its file."""
    if png.stat().st_size < _MIN_BYTES:
        return False
    with png.open("rb") as file:
        header = file.read(24)
    width, height = struct.unpack(">II", header[16:24])
    return bool(width * height <= _MAX_PIXELS)


def series_of(key: str) -> str:
    """The name shared by variants of a drawing: `birds/owl_01.png` -> `birds/owl`."""
    path = Path(key)
    return f"{path.parent.as_posix()}/{re.sub(r'[^a-z]+', ' ', path.stem.lower()).strip()}"


CLIPART = SourceKind(lambda name, options, settings: ClipartSource(name, options, settings.shares), ClipartOptions)
