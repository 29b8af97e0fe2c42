"""Which pictures and drawings training sees, and how each one is made.

A `Row` names a source picture and a recipe; the same row always gives the same pixels. Rows come in the order of their
worth, so that a cache that was only partly filled is still balanced.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from model.data import samples
from model.data.augmentation import change_drawing, change_picture, outline, silhouette
from model.data.edges import varied_canny
from model.data.emoji_art import Art, fetch_concepts, fetch_openmoji, fetch_vendor
from model.data.pictures import read_picture
from model.data.sources import clipart
from model.data.sources.photos import Options as PhotoOptions
from model.data.sources.photos import PhotosSource
from model.drawing import ByteArray, ink, ink_as_picture
from model.galleries.openmoji import Rendering, keep_groups, line_drawing
from model.galleries.svg import draw_svg
from model.preprocess import drawing_pixels, picture_pixels
from model.training.concepts import Split, base_concept, split_of

PICTURE, DRAWING = "picture", "drawing"
COLOUR_VENDORS = ("noto", "twemoji", "fluent", "fxemoji")
_PHOTOS, _CLIPARTS = 7000, 3500


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
    """The sources' pictures: SVG text by vendor and hexcode, photos with their labels, files of clip art."""

    art: Mapping[tuple[str, str], str]
    photos: PhotosSource
    labels: Mapping[str, str]
    cliparts: Mapping[str, Path] = field(default_factory=dict)

    def pixels(self, row: Row) -> ByteArray:
        """What the encoder sees of `row`: uint8 (224, 224, 3)."""
        generator = np.random.default_rng(zlib.crc32(f"{row.source} {row.key} {row.recipe}".encode()))
        return _RECIPES[row.recipe.partition("-")[0]](self._original(row), generator)

    def _original(self, row: Row) -> ByteArray:
        """The source picture on white, uint8 (H, W, 3)."""
        if row.source == "photo":
            return _shrunk(self.photos.sample(row.key).values["rgb"])
        if row.source == "clipart":
            return _shrunk(read_picture(self.cliparts[row.key].read_bytes()))
        svg = self.art[row.source, row.key]
        if row.recipe.startswith("line") and row.source == "openmoji":
            svg = line_drawing(svg)
        if row.recipe.startswith("colour"):
            svg = keep_groups(svg, Rendering.COLOUR)
        return draw_svg(svg)


def _shrunk(picture: ByteArray) -> ByteArray:
    image = Image.fromarray(picture)
    image.thumbnail((448, 448))
    return picture_pixels(np.asarray(image))


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
    "edges": lambda picture, generator: _drawn(varied_canny(picture, generator)),
    "edgesChanged": lambda picture, generator: _drawn(change_drawing(varied_canny(picture, generator), generator)),
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
    taken, labels = _read_photos(photos)
    sources = Sources({(a.vendor, a.hexcode): a.svg for a in seen}, taken, labels, _find_cliparts(cliparts))
    return sources, seen


def _read_photos(folder: Path) -> tuple[PhotosSource, dict[str, str]]:
    """The photos, and the labels of those that are taken: the first training photos whose labels name a class."""
    photos = PhotosSource("photo", PhotoOptions(folder, labelled=True))
    return photos, {key: photos.label(key) for key in photos.keys(samples.Split.TRAIN)[:_PHOTOS]}


def _find_cliparts(folder: Path) -> dict[str, Path]:
    """Clip art by path, every n-th so that all subjects are there."""
    keys = clipart.find_clipart(clipart.Options(folder))
    step = max(len(keys) / _CLIPARTS, 1.0)
    return {key: folder / key for key in (keys[int(i * step)] for i in range(min(_CLIPARTS, len(keys))))}


def plan_rows(sources: Sources, art: list[Art]) -> list[Row]:
    """All rows, the most telling first."""
    return [
        *_emoji_rows(art, PICTURE, ("plain",)),
        *_line_rows(art),
        *_emoji_rows(art, DRAWING, ("edges", "silhouette", "outline")),
        *_emoji_rows(art, PICTURE, ("changed",)),
        *(_emoji_row(a, PICTURE, "colour") for a in art if a.vendor == "openmoji"),
        *_other_rows("photo", sources.labels, sources.labels),
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
