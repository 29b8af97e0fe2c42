"""A sheet of the first five photos for twenty common queries, to be judged by eye.

    python -m benchmarks.common_queries --out docs/common-queries.jpg
    python -m benchmarks.common_queries --packs PACKS --space photo_global --space semantic_global --out runs/sheet.jpg

The photos are the 200 in the public domain that ship with Anyseek, or those of the test split of the pack `captions`,
which are for research: a sheet of them must not be published. With several spaces there is a sheet for each, its name
before the ending.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.captions import CaptionsSource, Options
from anyseek.model.galleries.photos import read_photos
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.modalities.rendering.panels import INK, PAPER, font
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.query_vectors import centre_queries
from anyseek.search.spaces.base import centre

QUERIES = (
    "a dog running on grass",
    "children playing football",
    "a man with glasses",
    "a red car at night",
    "puppy",
    "a woman",
    "selfie",
    "people at the beach",
    "a child on a swing",
    "snow in the mountains",
    "somebody riding a bicycle",
    "a train",
    "an airplane",
    "a boat on a lake",
    "a farmer with a tractor",
    "food on a table",
    "a kitchen",
    "workers in a factory",
    "a street in a city",
    "flowers",
)
FIRST, _AT_ONCE = 5, 16
_CELL, _GAP, _WORDS, _TEXT = 92, 4, 190, 13

Photos = list[Image.Image]


@click.command()
@click.option("--packs", type=click.Path(exists=True, file_okay=False, path_type=Path), help="The folder of packs.")
@click.option("--model", default="4m-tiny")
@click.option("--space", "spaces", multiple=True, help="By default that of captions; may be repeated.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
def main(packs: Path | None, model: str, spaces: tuple[str, ...], out: Path) -> None:
    """Draw the first five photos for each query."""
    embedder = load_embedder(model, default_home())
    chosen = spaces or (embedder.default_space("caption"),)
    photos = list(_shipped() if packs is None else _of_pack(packs))
    gallery = _embedded(embedder, photos, chosen)
    asked = embedder.embed([Sample({"caption": query}) for query in QUERIES], chosen)
    for name in chosen:
        space = embedder.spaces[name]
        stored = centre(gallery[name], gallery[name].mean(axis=0), space.blocks)
        scores = centre_queries(space, ["caption"], asked[name]) @ stored.T
        path = out if len(chosen) == 1 else out.with_stem(f"{out.stem}-{name}")
        sheet([[photos[row] for row in np.argsort(-line, kind="stable")[:FIRST]] for line in scores]).save(
            path, quality=80, optimize=True
        )
        click.echo(f"{path}: {len(photos)} photos by {name}, {path.stat().st_size / 1000:.0f} kB")


def _shipped() -> Iterator[Image.Image]:
    for photo in read_photos():
        yield Image.open(BytesIO(photo.webp)).convert("RGB")


def _of_pack(packs: Path) -> Iterator[Image.Image]:
    source = CaptionsSource("captions", Options(packs / "captions"))
    for key in source.keys(Split.TEST):
        yield Image.fromarray(source.sample(key).values["rgb"])


def _embedded(embedder: Embedder, photos: Photos, spaces: tuple[str, ...]) -> dict[str, FloatArray]:
    """Raw vectors (n, d) by space."""
    parts = [
        embedder.embed_gallery(
            [Sample({"rgb": np.asarray(photo)}) for photo in photos[start : start + _AT_ONCE]], spaces
        )
        for start in range(0, len(photos), _AT_ONCE)
    ]
    return {space: np.concatenate([part[space] for part in parts]) for space in spaces}


def sheet(found: list[Photos]) -> Image.Image:
    """The queries in two columns, each with its photos beside it."""
    half = (len(found) + 1) // 2
    wide, high = _WORDS + FIRST * (_CELL + _GAP) + 2 * _GAP, _CELL + _GAP
    drawn = Image.new("RGB", (2 * wide, half * high + _GAP), PAPER)
    pen = ImageDraw.Draw(drawn)
    for number, photos in enumerate(found):
        left, top = (number // half) * wide, (number % half) * high + _GAP
        pen.text((left + 2 * _GAP, top + _CELL // 2 - _TEXT), QUERIES[number], fill=INK, font=font(_TEXT))
        for place, photo in enumerate(photos):
            small = photo.copy()
            small.thumbnail((_CELL, _CELL))
            x = left + _WORDS + place * (_CELL + _GAP)
            drawn.paste(small, (x + (_CELL - small.width) // 2, top + (_CELL - small.height) // 2))
    return drawn


if __name__ == "__main__":
    main()
