"""A folder indexed with a published network, and queries by picture, words, depth and several at once."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.api.commands.conftest import Run
from tests.indexer.pictures import png
from tests.random_weights import write_random_models

pytestmark = pytest.mark.slow
SPACES = ["clip", "dinov2_global", "imagebind_global"]


def _depth(seed: int) -> bytes:
    ramp = np.random.default_rng(seed).integers(1, 65_536, (40, 50)).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with a caption, one of them with a depth map; the weights are installed."""
    write_random_models(home)
    folder = tmp_path_factory.mktemp("photos")
    for number in range(2):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "0.json").write_text(json.dumps({"caption": "a red bus", "modalities": {"depth": "0.depth.png"}}))
    (folder / "0.depth.png").write_bytes(_depth(0))
    return folder


@pytest.fixture
def collection(run: Run, photos: Path) -> str:
    done = run("index", str(photos), "--collection", "c", "--model", "4M-21_B:token_budget=98", "--json")
    assert done.returncode == 0, done.stderr
    return "c"


def _hits(run: Run, collection: str, *query: str) -> list[dict[str, Any]]:
    done = run("query", "--collection", collection, "--json", *query)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    hits: list[dict[str, Any]] = answer["hits"]
    assert len(hits) == 2
    return hits


def test_pictures_words_and_depth_find_items_in_every_space(run: Run, collection: str, photos: Path) -> None:
    image, depth = ["--image", str(photos / "1.png")], ["--depth", str(photos / "0.depth.png")]
    for space in SPACES:
        chosen = ["--space", space]
        assert _hits(run, collection, *image, *chosen)[0]["score"] == pytest.approx(1, abs=1e-3)
        assert _hits(run, collection, *image, *chosen)[0]["key"].endswith("1.png")
        _hits(run, collection, *depth, *chosen)
        _hits(run, collection, "a red bus", *chosen)
    _hits(run, collection, "a red bus", *image, *depth)


def test_the_collection_remembers_the_options(run: Run, collection: str, photos: Path) -> None:
    shown = run("collections", "list").stdout
    assert "4M-21_B:token_budget=98" in shown
    again = run("index", str(photos), "--collection", collection, "--json")
    assert json.loads(again.stdout)["unchanged"] == 2
    other = run("index", str(photos), "--collection", collection, "--model", "4M-21_B")
    assert other.returncode != 0
    assert "4M-21_B:token_budget=98" in other.stderr
