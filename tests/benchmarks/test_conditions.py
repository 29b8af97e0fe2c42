"""`benchmarks.conditions` asks for what its galleries have, and counts the hits that have it."""

import json
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.evaluation.real_collection import real_collection
from anyseek.search.types import Part
from benchmarks.conditions.__main__ import kinds_of, measure
from benchmarks.conditions.sources import Asked, Gallery, photos_with_captions, photos_with_masks
from tests.model.data.sources.packs_kit import about, encoded, write_shard

RED, BLUE = (200, 20, 35), (30, 60, 200)


def _photo(colour: tuple[int, int, int]) -> np.ndarray:
    picture = np.full((20, 20, 3), 128, np.uint8)
    picture[:10] = colour
    return picture


def test_a_photo_with_masks_has_the_colours_of_its_things(tmp_path: Path) -> None:
    mask = np.repeat([[1], [2]], 10, axis=0) * np.ones((1, 20))
    files = {"webp": encoded(_photo(RED), "WEBP"), "semseg.png": encoded(mask.astype(np.uint8))}
    pack = write_shard(
        tmp_path / "segmentation/segmentation-open-0.tar", [(about(id="a", classes=["hat", "wall"]), files)]
    )
    (pack / "classes.json").write_text(json.dumps({"x": {"0": "", "1": "hat", "2": "wall"}}))
    gallery = photos_with_masks(tmp_path, "x", 5)
    assert gallery.things == {"a": {"hat", "wall"}}
    assert gallery.coloured == {"a": {("hat", "red")}}  # the wall is grey, which says nothing


def test_a_photo_with_captions_has_the_things_and_colours_that_they_name(tmp_path: Path) -> None:
    texts = ["A red car near dogs", "A car on grass."]
    samples = [(about(id="a", captions=texts), {"webp": encoded(_photo(RED), "WEBP")})]
    write_shard(tmp_path / "captions/captions-open-0.tar", samples)
    gallery = photos_with_captions(tmp_path, "x", 5)
    assert gallery.things == {"a": {"car", "dog", "grass"}}
    assert gallery.coloured == {"a": {("car", "red")}}


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Six red hats, six blue hats and six red bags, four of the bags with a hat."""
    gallery = Gallery("made")
    for number in range(18):
        colour, thing = (BLUE if 6 <= number < 12 else RED), ("hat" if number < 12 else "bag")
        key = f"{number:02}"
        gallery.pictures[key] = np.full((8, 8, 3), colour, np.uint8)
        gallery.things[key] = frozenset({thing, "hat"} if number in (12, 13, 14, 15, 16) else {thing})
        gallery.coloured[key] = frozenset({(thing, "red" if colour is RED else "blue")})
    return gallery


def test_queries_are_made_for_what_enough_items_meet(gallery: Gallery) -> None:
    kinds = kinds_of(gallery)
    coloured = {(one.parts[0].value, tuple(one.parts[1].value[0])): one.wanted for one in kinds["word + colour"]}
    assert coloured["hat", (30, 60, 200)] == {f"{number:02}" for number in range(6, 12)}
    assert len(coloured) == 3
    assert not kinds["item + word"]  # nearly all bags are with a hat
    assert all(one.itself not in one.wanted for one in kinds["item + colour"])


def test_shares_of_the_first_ten_are_counted_without_the_item_itself(gallery: Gallery) -> None:
    wanted, reds = gallery.keys_of_coloured["hat", "blue"], frozenset(gallery.keys_of_coloured["hat", "red"])
    palette = Part("color_palette", np.array([BLUE], np.uint8))
    with real_collection(HashingEmbedder(), gallery.samples) as collection:
        both = measure(collection, gallery, "item + colour", [Asked((Part(item="06"), palette), wanted, itself="06")])
        less = Asked((Part(item="06"), Part("caption", "hat", weight=-1.0)), wanted, reds)
        minus = measure(collection, gallery, "item - word", [less])
    assert both.wanted.value == 0.5  # five of the first ten, as the sixth is the item
    assert both.unwanted is None
    assert minus.alone.value == 0.6
    assert minus.unwanted is not None
    assert minus.alone_unwanted is not None
