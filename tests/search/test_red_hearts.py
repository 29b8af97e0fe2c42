"""What combinations of words, drawings and colours find among OpenMoji, with the bundled model."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import WeightsMissing
from anyseek.model.galleries.openmoji import Concept, Drawings, draw_svg, fetch_wheel, read_concepts
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Sample
from anyseek.search.evaluation.real_collection import RealCollection, real_collection
from anyseek.search.types import Part, Query

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
KINDS = ("hearts", "ground transportation", "fruit", "vegetables", "emotions", "affectionate", "birds")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown() -> dict[str, Concept]:
    """All emoji of some kinds, and every 16th other one, by name."""
    every = read_concepts()
    others = [concept for concept in every if concept.subgroup not in KINDS and concept.caption][::16]
    return {concept.caption: concept for concept in every if concept.subgroup in KINDS} | {
        concept.caption: concept for concept in others
    }


@pytest.fixture(scope="module")
def emoji(shown: dict[str, Concept]) -> Iterator[RealCollection]:
    try:
        embedder, wheel = load_embedder("4m-tiny", HOME), fetch_wheel(HOME / "downloads")
    except (WeightsMissing, DownloadFailed) as error:
        pytest.skip(str(error))
    with Drawings(wheel) as drawings:
        samples = {name: Sample({"rgb": draw_svg(drawings[one.hexcode])}) for name, one in shown.items()}
    with real_collection(embedder, samples) as collection:
        yield collection


@pytest.fixture(scope="module")
def captioned(shown: dict[str, Concept]) -> Iterator[RealCollection]:
    """Vehicles, and emoji of no kind above, with their captions, as in the demo."""
    try:
        embedder, wheel = load_embedder("4m-tiny", HOME), fetch_wheel(HOME / "downloads")
    except (WeightsMissing, DownloadFailed) as error:
        pytest.skip(str(error))
    kept = [one for one in shown.values() if one.subgroup == "ground transportation" or one.subgroup not in KINDS]
    with Drawings(wheel) as drawings:
        samples = {
            one.caption: Sample({"rgb": draw_svg(drawings[one.hexcode]), "caption": one.caption}) for one in kept
        }
    with real_collection(embedder, samples) as collection:
        yield collection


def words(text: str, weight: float = 1.0) -> Part:
    return Part("caption", text, weight=weight)


def red(weight: float = 1.0) -> Part:
    return Part("color_palette", np.array([[234, 90, 71]], np.uint8), weight=weight)


def drawn_heart() -> Part:
    sheet = Image.new("L", (224, 224), 255)
    turn = np.linspace(0, 2 * np.pi, 200)
    across = 112 + 96 * np.sin(turn) ** 3
    down = 105 - 6 * (13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    ImageDraw.Draw(sheet).line(list(zip(across, down, strict=True)), fill=0, width=6)
    return Part("canny_edge", np.asarray(sheet))


def drawn_car(pen: int, mirrored: bool) -> Part:
    sheet = Image.new("L", (256, 256), 255)
    draw = ImageDraw.Draw(sheet)
    outline = [(20, 170), (20, 130), (60, 125), (90, 85), (165, 85), (195, 125), (235, 132), (235, 170), (20, 170)]
    draw.line(outline, fill=0, width=pen)
    for middle in (67, 180):
        draw.ellipse((middle - 22, 148, middle + 22, 192), outline=0, fill=255, width=pen)
    drawn = np.asarray(sheet)
    return Part("canny_edge", drawn[:, ::-1].copy() if mirrored else drawn)


def found(emoji: RealCollection, *parts: Part) -> list[str]:
    return [hit.key for hit in emoji.answers([Query(parts, 10)])[0].hits]


def test_love_a_drawn_heart_and_red_are_red_hearts(emoji: RealCollection) -> None:
    assert "red heart" not in found(emoji, words("love"), drawn_heart())[:2], "the colour must decide"
    assert found(emoji, words("love"), drawn_heart(), red())[0] == "red heart"


@pytest.mark.parametrize(("pen", "mirrored"), [(3, False), (5, True), (10, False)])
def test_police_and_a_drawn_car_are_a_police_car(captioned: RealCollection, pen: int, mirrored: bool) -> None:
    car = drawn_car(pen, mirrored)
    assert found(captioned, car)[0] != "police car", "the word must decide"
    assert found(captioned, words("police"), car)[0] == "police car"


def test_an_item_and_red_are_red_ones_of_its_kind(emoji: RealCollection) -> None:
    assert found(emoji, Part(item="green apple"), red())[0] == "red apple"
    assert "red heart" in found(emoji, Part(item="blue heart"), red())


def test_hearts_without_red_are_other_hearts(emoji: RealCollection) -> None:
    hearts = found(emoji, words("heart"), red(-1.0))
    assert all("heart" in name for name in hearts)
    assert "red heart" not in hearts


@pytest.mark.parametrize("weight", [-1.0, -3.0])
def test_fruit_without_banana_still_is_fruit(emoji: RealCollection, shown: dict[str, Concept], weight: float) -> None:
    left = found(emoji, words("fruit"), words("banana", weight))
    assert "banana" not in left
    kinds = [shown[name].subgroup for name in left]
    assert sum(kind in ("fruit", "vegetables") for kind in kinds) >= 7
