"""Captions say what the maps show."""

import re

import numpy as np
import pytest

from anyseek.model.data.samples import Origin
from anyseek.model.rooms.captions import (
    NAMES,
    clear_name,
    compose,
    known_metadata,
    labelled_boxes,
    listed,
    name_colours,
    plural,
    seen_things,
    sentence,
    with_article,
)
from anyseek.model.rooms.furnish import PAINTS
from anyseek.model.rooms.render import render
from anyseek.model.rooms.scene import Camera, Placed, Scene
from tests.model.rooms.conftest import Boxes, room_with

pytestmark = pytest.mark.usefixtures("embree")

LEVEL = Camera((3.0, 1.2, 7.5), 0.0, -0.1, 0.0, 1.3)
RED, BLUE, GREEN = (0.8, 0.1, 0.1), (0.1, 0.25, 0.8), (0.1, 0.6, 0.2)
SAME = {"dark green": "green", "light blue": "blue", "navy": "blue"}


def texts_of(scene: Scene, tries: int = 30) -> set[str]:
    """All captions of a scene over several drawings."""
    view = render(scene, LEVEL, 96)
    seen = seen_things(scene, LEVEL, view)
    found = [compose(scene.room, view, seen, np.random.default_rng(seed)) for seed in range(tries)]
    assert all(caption.origin is Origin.TEMPLATE for captions in found for caption in captions)
    return {caption.text for captions in found for caption in captions}


def test_left_and_right_are_those_of_the_picture(make_box: Boxes) -> None:
    chair = make_box("chair", (0.6, 0.9, 0.6), RED)
    table = make_box("table", (1.2, 0.7, 0.8), BLUE)
    texts = texts_of(room_with(Placed(chair, (1.5, 0.0, 4.0), 0.0), Placed(table, (4.5, 0.0, 4.0), 0.0)))
    assert any("red chair to the left of a blue table" in text for text in texts)
    assert any("blue table to the right of a red chair" in text for text in texts)
    assert not any("chair to the right" in text or "table on the left" in text for text in texts)


def test_what_is_nearer_is_in_front(make_box: Boxes) -> None:
    near = Placed(make_box("stool", (0.5, 0.5, 0.5), GREEN), (2.8, 0.0, 5.0), 0.0)
    far = Placed(make_box("wardrobe", (1.5, 2.0, 0.6), RED), (3.0, 0.0, 1.0), 0.0)
    texts = texts_of(room_with(near, far))
    assert any("green stool in front of a red wardrobe" in text for text in texts)
    assert any("red wardrobe behind a green stool" in text for text in texts)
    assert not any("stool behind" in text or "wardrobe in front" in text for text in texts)


def test_what_stands_on_a_table_is_said_to_be_on_it(make_box: Boxes) -> None:
    table = Placed(make_box("table", (1.2, 0.7, 0.8), BLUE), (3.0, 0.0, 4.5), 0.0)
    vase = Placed(make_box("vase", (0.3, 0.5, 0.3), RED), (3.0, 0.7, 4.5), 0.0, support=0)
    texts = texts_of(room_with(table, vase))
    assert any(re.search("[Rr]ed vase on (top of )?a blue table", text) for text in texts)


def test_equal_things_are_counted_and_share_their_colour(make_box: Boxes) -> None:
    chair = make_box("chair", (0.6, 0.9, 0.6), RED)
    scene = room_with(*(Placed(chair, (x, 0.0, 4.0), 0.0) for x in (1.5, 3.0, 4.5)))
    assert "Three red chairs." in texts_of(scene)


def test_things_of_different_colours_have_none_together(make_box: Boxes) -> None:
    red, blue = make_box("chair", (0.6, 0.9, 0.6), RED), make_box("chair2", (0.6, 0.9, 0.6), BLUE, nouns=("chair",))
    scene = room_with(Placed(red, (1.5, 0.0, 4.0), 0.0), Placed(blue, (4.0, 0.0, 4.0), 0.0))
    assert "Two chairs." in texts_of(scene)


def test_a_thing_too_small_to_name_leaves_the_number_open(make_box: Boxes) -> None:
    chair = make_box("chair", (0.6, 0.9, 0.6), RED)
    tiny = make_box("tiny", (0.08, 0.3, 0.08), RED, nouns=("chair",))
    scene = room_with(
        Placed(chair, (1.5, 0.0, 4.0), 0.0), Placed(chair, (4.0, 0.0, 4.0), 0.0), Placed(tiny, (2.8, 0.0, 4.0), 0.0)
    )
    texts = texts_of(scene)
    assert "Some red chairs." in texts
    assert not any("two" in text.lower() for text in texts)


def test_boxes_are_tight_around_visible_pixels(make_box: Boxes) -> None:
    scene = room_with(Placed(make_box("chair", (0.6, 0.9, 0.6), RED), (1.5, 0.0, 4.0), 0.0))
    view = render(scene, LEVEL, 96)
    (box,) = labelled_boxes(seen_things(scene, LEVEL, view))
    rows, columns = np.nonzero(view.things == 0)
    assert box.label == "chair"
    assert [96 * corner for corner in box.box.corners] == [
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    ]


def test_metadata_counts_people_and_shares(make_box: Boxes) -> None:
    scene = room_with(Placed(make_box("person", (0.5, 1.7, 0.4), RED), (3.0, 0.0, 4.0), 0.0))
    view = render(scene, LEVEL, 96)
    values = known_metadata(view, seen_things(scene, LEVEL, view)).values
    assert values["n_humans"] == values["n_sam_instances"] == 1
    assert values["objectness"] == pytest.approx((view.things == 0).mean())
    assert values["walkability"] == pytest.approx((view.classes == 2).mean())
    assert 0 < values["occlusion_score"] < 0.25


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("table", "tables"),
        ("office chair", "office chairs"),
        ("set of shelves", "sets of shelves"),
        ("loaf of bread", "loaves of bread"),
        ("pair of shoes", "pairs of shoes"),
        ("woman", "women"),
        ("shelf", "shelves"),
        ("bench", "benches"),
        ("couch", "couches"),
        ("vanity", "vanities"),
        ("tray", "trays"),
        ("potted plant", "potted plants"),
        ("box", "boxes"),
    ],
)
def test_plurals(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_articles_and_lists() -> None:
    assert with_article("armchair") == "an armchair"
    assert with_article("orange bin") == "an orange bin"
    assert with_article("upright piano") == "an upright piano"
    assert with_article("table") == "a table"
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert sentence("a TV on a table") == "A TV on a table."


@pytest.mark.parametrize("paint", PAINTS)
def test_paints_are_called_what_they_are(paint: str) -> None:
    colour = np.array([PAINTS[paint]], np.float32) / 255
    assert NAMES[int(name_colours(colour)[0])] == SAME.get(paint, paint)


def test_a_colour_of_less_than_most_is_not_named() -> None:
    red, blue = [0.8, 0.1, 0.1], [0.1, 0.2, 0.8]
    assert clear_name(np.array([red] * 7 + [blue] * 3, np.float32)) == "red"
    assert clear_name(np.array([red] * 5 + [blue] * 5, np.float32)) is None


def test_an_empty_room_has_no_caption() -> None:
    assert texts_of(room_with(), tries=1) == set()
