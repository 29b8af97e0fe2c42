import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.hashing import SPACE, HashingEmbedder
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Embedder, FloatArray, Sample


def _shape(kind: str, colour: str, outline: bool = False) -> np.ndarray:
    picture = Image.new("RGB", (120, 100), "white")
    pen = ImageDraw.Draw(picture)
    draw = {"disc": pen.ellipse, "box": pen.rectangle}[kind]
    draw((30, 20, 90, 80), fill=None if outline else colour, outline="black", width=3)
    return np.asarray(picture)


def _embed(embedder: Embedder, *samples: dict[str, object]) -> FloatArray:
    return embedder.embed([Sample(values) for values in samples], [SPACE])[SPACE]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return HashingEmbedder()


def test_vectors_are_the_same_in_another_process(embedder: Embedder) -> None:
    script = (
        "from anyseek.model.hashing import *; from anyseek.model.seam import Sample;"
        "v = HashingEmbedder().embed([Sample({'caption': 'caf\\u00e9 au lait'})], [SPACE])[SPACE];"
        "print(v.tobytes().hex())"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == _embed(embedder, {"caption": "café au lait"}).tobytes().hex()


def test_every_input_finds_its_picture(embedder: Embedder) -> None:
    kinds = [("disc", "red"), ("disc", "blue"), ("box", "red"), ("box", "blue")]
    gallery = _embed(
        embedder, *({"rgb": _shape(kind, colour), "caption": f"a {colour} {kind}"} for kind, colour in kinds)
    )
    for index, (kind, colour) in enumerate(kinds):
        words = _embed(embedder, {"caption": f"{colour} {kind}"})
        assert int((gallery @ words[0]).argmax()) == index
        drawn = _embed(embedder, {"canny_edge": _shape(kind, colour, outline=True)[:, :, 0]})
        assert kinds[int((gallery @ drawn[0]).argmax())][0] == kind
        rgb = {"red": (255, 0, 0), "blue": (0, 0, 255)}[colour]
        colours = _embed(embedder, {"color_palette": np.array([rgb], np.uint8)})
        assert kinds[int((gallery @ colours[0]).argmax())][1] == colour


def test_the_polarity_of_a_drawing_does_not_matter(embedder: Embedder) -> None:
    drawing = _shape("box", "red", outline=True)[:, :, 0]
    dark, light = _embed(embedder, {"canny_edge": drawing}, {"canny_edge": 255 - drawing})
    assert float(dark @ light) > 0.999


def test_it_loads_by_name_without_torch(tmp_path: object) -> None:
    script = (
        "import sys, pathlib; from anyseek.model.registry.loading import load_embedder;"
        "print(load_embedder('hashing', pathlib.Path('.')).name, 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["hashing", "False"]
    assert load_embedder("hashing", tmp_path).fingerprint == HashingEmbedder().fingerprint
