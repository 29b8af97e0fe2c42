"""Which pictures and drawings training sees, and how each one is made.

A `Row` names a source picture and a recipe; the same row always gives the same pixels. Rows come in the order of their
worth, so that a cache that was only partly filled is still balanced.
"""

import io
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from model.drawing import ByteArray, ink, ink_as_picture
from model.preprocess import drawing_pixels, picture_pixels
from model.training.augmentation import change_drawing, change_picture, edges, outline, silhouette
from model.training.concepts import Split, base_concept, split_of
from model.training.emoji import (
    Art,
    fetch_concepts,
    fetch_openmoji,
    fetch_vendor,
    line_drawing,
    render,
    without_group,
)

PICTURE, DRAWING = "picture", "drawing"
COLOUR_VENDORS = ("noto", "twemoji", "fluent", "fxemoji")
_PHOTOS, _CLIPARTS = 7000, 3500
_MOST_CLIPART_PIXELS = 2_000_000
_LEAST_CLIPART_BYTES = 2500  # smaller files are mostly arrows and toolbar buttons


@dataclass(frozen=True)
class Row:
    """One training picture or drawing.

    `subject` is the exact thing shown (its row with recipe `plain` is the picture to be found), `group` the
    concept it shares with other subjects, `recipe` how the pixels are made.
    """

    source: str
    key: str
    subject: str
    group: str
    domain: str
    recipe: str
    split: Split = Split.TRAIN


@dataclass(frozen=True)
class Sources:
    """The sources' pictures, encoded, by `source` and `key`: SVG text or the bytes of an image file."""

    art: Mapping[tuple[str, str], str]
    photos: Mapping[str, bytes]
    labels: Mapping[str, str]
    cliparts: Mapping[str, Path] = field(default_factory=dict)

    def pixels(self, row: Row) -> ByteArray:
        """What the encoder sees of `row`: uint8 (224, 224, 3)."""
        generator = np.random.default_rng(zlib.crc32(f"{row.source} {row.key} {row.recipe}".encode()))
        return _RECIPES[row.recipe.partition("-")[0]](self._original(row), generator)

    def _original(self, row: Row) -> ByteArray:
        """The source picture on white, uint8 (H, W, 3)."""
        if row.source == "photo":
            return _decoded(self.photos[row.key])
        if row.source == "clipart":
            return _decoded(self.cliparts[row.key].read_bytes())
        svg = self.art[row.source, row.key]
        if row.recipe.startswith("line") and row.source == "openmoji":
            svg = line_drawing(svg)
        if row.recipe.startswith("colour"):
            svg = without_group(svg, "line")
        return render(svg)


def _decoded(data: bytes) -> ByteArray:
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(paper, picture).convert("RGB")
    flat.thumbnail((448, 448))
    return picture_pixels(np.asarray(flat))


def _line(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    return drawing_pixels(np.asarray(Image.fromarray(picture).convert("L")))


def _changed_line(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    return _drawn(change_drawing(ink(np.asarray(Image.fromarray(picture).convert("L"))), generator))


def _drawn(strength: ByteArray) -> ByteArray:
    return drawing_pixels(ink_as_picture(strength)[:, :, 0])


_RECIPES: dict[str, Callable[[ByteArray, np.random.Generator], ByteArray]] = {
    "plain": lambda picture, generator: picture_pixels(picture),
    "colour": lambda picture, generator: picture_pixels(picture),
    "changed": lambda picture, generator: change_picture(picture_pixels(picture), generator),
    "line": _line,
    "lineChanged": _changed_line,
    "edges": lambda picture, generator: _drawn(edges(picture, generator)),
    "edgesChanged": lambda picture, generator: _drawn(change_drawing(edges(picture, generator), generator)),
    "silhouette": lambda picture, generator: _drawn(change_drawing(silhouette(picture), generator)),
    "outline": lambda picture, generator: _drawn(change_drawing(outline(picture), generator)),
}


def load_sources(photos: Path, cliparts: Path, cache: Path) -> tuple[Sources, list[Art]]:
    """Everything that training may see, and the emoji art among it (no test concepts, no EmojiOne)."""
    concepts = fetch_concepts(cache)
    art = fetch_openmoji(cache)
    for vendor in (*COLOUR_VENDORS, "fluent-line"):
        art += fetch_vendor(vendor, concepts, cache)
    seen = [a for a in art if split_of(a.hexcode) is not Split.TEST]
    files, labels = _read_photos(photos)
    sources = Sources({(a.vendor, a.hexcode): a.svg for a in seen}, files, labels, _find_cliparts(cliparts))
    return sources, seen


def _read_photos(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """The first labelled training photos by their basename in the shards, and their labels."""
    files: dict[str, bytes] = {}
    labels: dict[str, str] = {}
    for shard in sorted(folder.glob("photos-*.tar")):
        with tarfile.open(shard) as archive:
            members = {m.name: (archive.extractfile(m) or io.BytesIO()).read() for m in archive}
        for name in sorted(n for n in members if n.endswith(".json")):
            about = json.loads(members[name])
            if len(files) < _PHOTOS and about["split"] == "train" and _tells(about["label"]):
                key = name.removesuffix(".json")
                files[key], labels[key] = members[f"{key}.webp"], about["label"]
    return files, labels


def _tells(label: str | None) -> bool:
    return label not in (None, "not sure", "skip", "other", "background google")


def _find_cliparts(folder: Path) -> dict[str, Path]:
    """Clip art by path, every n-th so that all subjects are there."""
    files = [f for f in sorted(folder.rglob("*.png")) if _is_telling(f)]
    step = max(len(files) / _CLIPARTS, 1.0)
    chosen = [files[int(i * step)] for i in range(min(_CLIPARTS, len(files)))]
    return {str(f.relative_to(folder)): f for f in chosen}


def _is_telling(png: Path) -> bool:
    """Whether a clip art is neither tiny nor huge, by its file's size and its header."""
    with png.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:24])
    return png.stat().st_size >= _LEAST_CLIPART_BYTES and width * height <= _MOST_CLIPART_PIXELS


def plan_rows(sources: Sources, art: list[Art]) -> list[Row]:
    """All rows, the most telling first."""
    return [
        *_emoji_rows(art, PICTURE, ("plain",)),
        *_line_rows(art),
        *_emoji_rows(art, DRAWING, ("edges", "silhouette", "outline")),
        *_emoji_rows(art, PICTURE, ("changed",)),
        *(_emoji_row(a, PICTURE, "colour") for a in art if a.vendor == "openmoji"),
        *_other_rows("photo", sources.photos, sources.labels),
        *_other_rows("clipart", sources.cliparts, {}),
    ]


def _emoji_row(art: Art, domain: str, recipe: str) -> Row:
    subject = f"{art.vendor.removesuffix('-line')}:{art.hexcode}"
    split = split_of(art.hexcode)
    return Row(art.vendor, art.hexcode, subject, base_concept(art.hexcode), domain, recipe, split)


def _emoji_rows(art: list[Art], domain: str, recipes: tuple[str, ...]) -> Iterator[Row]:
    """One row a coloured emoji; drawings take their recipe in turn, edges for every second one."""
    coloured = [a for a in art if a.vendor != "fluent-line"]
    for index, one in enumerate(coloured):
        yield _emoji_row(one, domain, recipes[0])
        if len(recipes) > 1:
            yield _emoji_row(one, domain, recipes[1 + index % (len(recipes) - 1)])


def _line_rows(art: list[Art]) -> Iterator[Row]:
    for recipe in ("line", "lineChanged-1", "lineChanged-2"):
        for one in art:
            if one.vendor in ("openmoji", "fluent-line"):
                yield _emoji_row(one, DRAWING, recipe)


def _other_rows(source: str, keys: Mapping[str, object], labels: Mapping[str, str]) -> Iterator[Row]:
    """Photos or clip art: the picture and its edges."""
    for index, key in enumerate(keys):
        group = f"{source}:{labels.get(key, key)}"
        yield Row(source, key, f"{source}:{key}", group, PICTURE, "plain")
        yield Row(source, key, f"{source}:{key}", group, DRAWING, ("edges", "edgesChanged")[index % 2])


def clipart_words(key: str) -> str:
    """The words of a clip art's folder, more reliable than its file name: `animals/birds/x.png` -> `birds`."""
    return re.sub(r"[_-]+", " ", Path(key).parent.name)
