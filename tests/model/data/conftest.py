"""A small folder of pictures, and recipes over it: everything that a build needs and nothing to fetch."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.data.making import Failure
from anyseek.model.data.recipe import Recipe, parse_recipe


class Silent:
    """A `Progress` that keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.failures: list[Failure] = []

    def __call__(self, settled: int, total: int, failures: Sequence[Failure]) -> None:
        self.calls.append((settled, total))
        self.failures = list(failures)


@pytest.fixture
def progress() -> Silent:
    return Silent()


def draw(path: Path, number: int, size: int = 40) -> None:
    """A picture of one of many coloured shapes."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (size, size + number % 3), tuple(random.integers(0, 256, 3).tolist()))
    corners = sorted(random.integers(0, size, 2).tolist()), sorted(random.integers(0, size, 2).tolist())
    box = (corners[0][0], corners[1][0], corners[0][1] + 4, corners[1][1] + 4)
    ImageDraw.Draw(image).ellipse(box, fill=tuple(random.integers(0, 256, 3).tolist()))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def draw_pictures(folder: Path) -> Path:
    """Twenty-four pictures, every third with a caption, one that is broken."""
    for number in range(24):
        draw(folder / f"{number:02d}.png", number)
        if number % 3 == 0:
            (folder / f"{number:02d}.json").write_text(
                f'{{"caption": "shape {number}", "attributes": {{"n": {number}}}}}'
            )
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def written_recipe(pictures: Path, **changes: Any) -> dict[str, Any]:
    """A recipe over a folder of pictures with some keys changed, as YAML holds it."""
    written = {
        "name": "shapes",
        "image_size": 32,
        "shard_samples": 5,
        "splits": {"val": 0.2, "test": 0.2},
        "sources": [{"kind": "folder", "path": str(pictures), "licence": "CC0"}],
        "labellers": ["canny_edge", "soft_edge", "color_palette", "metadata"],
    }
    return written | changes


def recipe_over(pictures: Path, **changes: Any) -> Recipe:
    return parse_recipe(written_recipe(pictures, **changes))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures")


@pytest.fixture
def make_recipe(pictures: Path) -> Callable[..., Recipe]:
    return partial(recipe_over, pictures)
