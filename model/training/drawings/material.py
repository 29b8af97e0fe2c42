"""Drawings with their words, and photos' edges, as maps of the image encoder: computed once, kept in a folder."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter

from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import OPENMOJI, EmojiSource
from anyseek.model.data.sources.packs import (
    CaptionsSource,
    PackOptions,
    PackSource,
    PhotosOptions,
    PhotosSource,
    SketchesSource,
    render_strokes,
)
from anyseek.model.encoders.efficientnet import CHANNELS, COARSE
from anyseek.model.encoders.fused import load_fastest
from anyseek.model.encoders.preprocess import drawing_pixels, encoder_input
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.edge_detection import random_canny, soft_edges

_TILT, _SHEAR, _STRETCH = 0.3, 0.2, 0.25  # radians, and shares, at most
_SHEET = 224
_PENS = (2 / 224, 9 / 224)  # the narrowest and the widest, as shares of the sheet's side
_SIDES = (128, 448)  # pixels of photos whose edges are detected
_SOFT, _THICK = 0.25, 0.3  # the shares of edges that are graded, and that are thickened
_EDGES = 700  # at most, of photos with a class, and as many of others
_BATCH, _KEPT = 4, 200  # renderings seen together, and those after which they are written
Draw = Callable[[np.random.Generator], ByteArray]


@dataclass(frozen=True)
class Example:
    """One drawing: `source` says which names it could have, `name` is the right one; None for edges of a photo."""

    key: str
    source: str
    name: str | None
    draw: Draw

    @property
    def by_hand(self) -> bool:
        return self.name is not None

    def render(self, number: int) -> ByteArray:
        """One of its renderings as the encoder's input: uint8 (224, 224, 3)."""
        seed = int(hashlib.sha256(f"{self.key} {number}".encode()).hexdigest()[:8], 16)
        generator = np.random.default_rng(seed)
        drawn = self.draw(generator)
        return drawing_pixels(_transformed(drawn, generator) if self.by_hand else drawn)


def read_examples(packs: Path, downloads: Path, open_only: bool) -> list[Example]:
    """Drawings of the training splits: of the packs `sketches`, OpenMoji's lines, edges of `photos` and `captions`."""
    sketches = [] if open_only else _sketchy(packs)
    return [*_quickdraw(packs), *sketches, *_emoji(downloads), *_edges(packs, open_only)]


def _transformed(drawing: ByteArray, generator: np.random.Generator) -> ByteArray:
    """Ink uint8 (H, W), turned, sheared, stretched and sometimes thickened."""
    image = Image.fromarray(drawing)
    turn = generator.uniform(-_TILT, _TILT)
    shear, wide, tall = generator.uniform(-_SHEAR, _SHEAR), *np.exp(generator.uniform(-_STRETCH, _STRETCH, 2))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = turned @ np.array([[1, shear], [0, 1]]) @ np.diag([max(wide, 1), max(tall, 1)])  # of the sheet, to ink
    middle = np.array(image.size) / 2
    shift = middle - matrix @ middle
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    image = image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    if generator.random() < _THICK:
        image = image.filter(ImageFilter.MaxFilter(3))
    return np.asarray(image)


def _quickdraw(packs: Path) -> Iterator[Example]:
    source = SketchesSource("quickdraw", PackOptions(path=packs / "sketches", of=("quickdraw",)), _SHEET)
    for key in source.keys(Split.TRAIN):
        metadata = source.entries[key].metadata
        yield Example(f"quickdraw/{key}", "quickdraw", metadata["label"], partial(_strokes, metadata["drawing"]))


def _strokes(strokes: Sequence[Sequence[Sequence[float]]], generator: np.random.Generator) -> ByteArray:
    return render_strokes(strokes, _SHEET, float(np.exp(generator.uniform(*np.log(_PENS)))))


def _sketchy(packs: Path) -> Iterator[Example]:
    source = SketchesSource("sketchy", PackOptions(path=packs / "sketches", of=("sketchy",)), _SHEET)
    for key in source.keys(Split.TRAIN):
        name = str(source.entries[key.rpartition("/")[0]].metadata["label"])
        yield Example(f"sketchy/{key}", "sketchy", name, partial(_value, source, key))


def _emoji(downloads: Path) -> Iterator[Example]:
    source = EmojiSource("emoji", (OPENMOJI,), downloads, _SHEET)
    for key in source.keys(Split.TRAIN):
        name = source.name_of(key)
        if name is not None and ":" not in name:  # flags and keycaps are no drawings of things
            yield Example(f"emoji/{key}", "emoji", name, partial(_value, source, key))


def _value(source: SketchesSource | EmojiSource, key: str, generator: np.random.Generator) -> ByteArray:
    drawing: ByteArray = source.sample(key).values["line_drawing"]
    return drawing


def _edges(packs: Path, open_only: bool) -> Iterator[Example]:
    things = PhotosSource("photos", PhotosOptions(path=packs / "photos", labelled=True))
    classes: Literal["all", "open"] = "open" if open_only else "all"
    scenes = CaptionsSource("captions", PackOptions(path=packs / "captions", classes=classes))
    for source in (things, scenes):
        for key in sample_evenly(source.keys(Split.TRAIN), _EDGES):
            yield Example(f"{source.name}/{key}", source.name, None, partial(_edges_of, source, key))


def _edges_of(source: PackSource, key: str, generator: np.random.Generator) -> ByteArray:
    """Edges of a photo of any size, so that lines of any width may be a detector's; some are thickened."""
    photo = Image.fromarray(source.entries[key].value("rgb", "webp"))
    scale = generator.integers(*_SIDES) / max(photo.size)
    picture = np.asarray(photo.resize((round(photo.width * scale), round(photo.height * scale))))
    edges = soft_edges(picture) if generator.random() < _SOFT else random_canny(picture, generator)
    if generator.random() < _THICK:
        edges = np.asarray(Image.fromarray(edges).filter(ImageFilter.MaxFilter(3)))
    return edges


@dataclass(frozen=True)
class Maps:
    """The encoder's output for m renderings, and the example (m,) of each.

    `coarse` float16 (m, 192, 7, 7) are maps at stride 32, and `pooled` float16 (m, 1280).
    """

    coarse: npt.NDArray[np.float16]
    pooled: npt.NDArray[np.float16]
    examples: npt.NDArray[np.int64]


def compute_maps(
    examples: Sequence[Example], renderings_each: int, encoder: Path, folder: Path, say: Callable[[str], None]
) -> Maps:
    """Compute the maps of several renderings of each example, or go on with those in `folder` of the same examples."""
    renderings = [(n, number) for number in range(renderings_each) for n in range(len(examples))]
    state = folder / "maps.json"
    listed = hashlib.sha256(json.dumps([examples[n].key for n, _ in renderings]).encode()).hexdigest()
    known = json.loads(state.read_text()) if state.is_file() else {}
    done = known["done"] if known.get("examples") == listed else 0
    mode: Literal["r+", "w+"] = "r+" if done else "w+"
    coarse = np.memmap(folder / "coarse.f16", np.float16, mode, shape=(len(renderings), *COARSE))
    pooled = np.memmap(folder / "pooled.f16", np.float16, mode, shape=(len(renderings), CHANNELS))
    network = load_fastest(encoder)
    for start in range(done, len(renderings), _BATCH):
        some = renderings[start : start + _BATCH]
        with torch.inference_mode():
            features = network(encoder_input([examples[n].render(number) for n, number in some]))
        coarse[start : start + len(some)], pooled[start : start + len(some)] = features.coarse, features.pooled
        done = start + len(some)
        if start % _KEPT == 0 or done == len(renderings):
            coarse.flush()
            pooled.flush()
            state.write_text(json.dumps({"examples": listed, "done": done}))
            say(f"{done:,} of {len(renderings):,} maps")
    return Maps(coarse, pooled, np.array([n for n, _ in renderings]))
