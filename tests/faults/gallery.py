"""What goes in: a folder of small pictures, some of them bad, and what is to become of each."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from anyseek.search.catalogue.ledger import DEADLY
from tests.indexer.pictures import encoded, png

BAD_SHARE = 0.03
DEADLY_NAME = "deadly.png"


@dataclass(frozen=True)
class Gallery:
    """`good` are the names of files that must become items, `bad` those that must not, with the reason's code."""

    folder: Path
    good: frozenset[str]
    bad: Mapping[str, str]

    @property
    def inputs(self) -> int:
        return len(self.good) + len(self.bad)


def make_gallery(folder: Path, inputs: int, seed: int) -> Gallery:
    """`inputs` files of different content, 3% of them bad in one of three ways."""
    folder.mkdir()
    names = [f"{number:05}.png" for number in range(inputs)]
    chosen = random.Random(seed).sample(names, max(3, round(inputs * BAD_SHARE)))
    bad = {name: ("broken-picture", "not-a-picture", "empty-input")[turn % 3] for turn, name in enumerate(chosen)}
    for number, name in enumerate(names):
        (folder / name).write_bytes(_content(seed * inputs + number, bad.get(name)))
    return Gallery(folder, frozenset(names) - set(bad), bad)


def with_deadly(gallery: Gallery) -> Gallery:
    """One picture more, at whose red corner each worker dies that has `tests.faults.traps` in it."""
    (gallery.folder / DEADLY_NAME).write_bytes(encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG"))
    return Gallery(gallery.folder, gallery.good, {**gallery.bad, DEADLY_NAME: DEADLY})


def _content(seed: int, code: str | None) -> bytes:
    picture = png(seed, 12, 8)
    return {None: picture, "broken-picture": picture[:-30], "not-a-picture": b"no picture", "empty-input": b""}[code]
