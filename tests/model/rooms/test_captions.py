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
    with_article,
)
from anyseek.model.rooms.furnish import PAINTS
from anyseek.model.rooms.render import render
from anyseek.model.rooms.scene import Camera, Placed
from tests.model.rooms.conftest import Boxes, room_with

pytestmark = pytest.mark.usefixtures("embree")

LEVEL = Camera((3.0, 1.2, 7.5), 0.0, -0.1, 0.0, 1.3)
RED, BLUE, GREEN = (0.8, 0.1, 0.1), (0.1, 0.25, 0.8), (0.1, 0.6, 0.2)
SAME = {"dark green": "green", "light blue": "blue", "navy": "blue"}
CHAIR, TABLE = (0.6, 0.9, 0.6), (1.2, 0.7, 0.8)

Thing = tuple[str, tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
# What is in a room (noun, size, colour, position), what its captions say, and what they never say.
SCENES: dict[str, tuple[list[Thing], list[str], str]] = {
    "left and right are those of the picture": (
        [("chair", CHAIR, RED, (1.5, 0.0, 4.0)), ("table", TABLE, BLUE, (4.5, 0.0, 4.0))],
        ["red chair to the left of a blue table", "blue table to the right of a red chair"],
        "chair to the right|table on the left",
    ),
    "what is nearer is in front": (
        [
            ("stool", (0.5, 0.5, 0.5), GREEN, (2.8, 0.0, 5.0)),
            ("wardrobe", (1.5, 2.0, 0.6), RED, (3.0, 0.0, 1.0)),
        ],
        ["green stool in front of a red wardrobe", "red wardrobe behind a green stool"],
        "stool behind|wardrobe in front",
    ),
    "what stands on a table is said to be on it": (
        [("table", TABLE, BLUE, (3.0, 0.0, 4.5)), ("vase", (0.3, 0.5, 0.3), RED, (3.0, 0.7, 4.5))],
        ["[Rr]ed vase on (top of )?a blue table"],
        "table on",
    ),
    "equal things are counted and share their colour": (
        [("chair", CHAIR, RED, (x, 0.0, 4.0)) for x in (1.5, 3.0, 4.5)],
        [r"^Three red chairs\.$"],
        "[Tt]wo",
    ),
    "things of different colours have none together": (
        [("chair", CHAIR, RED, (1.5, 0.0, 4.0)), ("chair", CHAIR, BLUE, (4.0, 0.0, 4.0))],
        [r"^Two chairs\.$"],
        "[Tt]wo red",
    ),
    "a thing too small to name leaves the number open": (
        [("chair", size, RED, (x, 0.0, 4.0)) for size, x in ((CHAIR, 1.5), (CHAIR, 4.0), ((0.08, 0.3, 0.08), 2.8))],
        [r"^Some red chairs\.$"],
        "[Tt]wo",
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_captions_are_true_of_the_scene(name: str, make_box: Boxes) -> None:
    things, said, unsaid = SCENES[name]
    scene = room_with(
        *(
            Placed(make_box(f"{noun}{number}", size, colour, (noun,)), place, 0.0, (), 0 if place[1] else None)
            for number, (noun, size, colour, place) in enumerate(things)
        )
    )
    view = render(scene, LEVEL, 96)
    seen = seen_things(scene, LEVEL, view)
    captions = {
        caption for seed in range(30) for caption in compose(scene.room, view, seen, np.random.default_rng(seed))
    }
    assert {caption.origin for caption in captions} == {Origin.TEMPLATE}
    for words in said:
        assert any(re.search(words, caption.text) for caption in captions), words
    assert not any(re.search(unsaid, caption.text) for caption in captions)


def test_boxes_are_tight_around_visible_pixels(make_box: Boxes) -> None:
    scene = room_with(Placed(make_box("chair", CHAIR, RED), (1.5, 0.0, 4.0), 0.0))
    view = render(scene, LEVEL, 96)
    (box,) = labelled_boxes(seen_things(scene, LEVEL, view))
    rows, columns = np.nonzero(view.things == 0)
    assert box.label == "chair"
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert [96 * corner for corner in box.box.corners] == edges


def test_metadata_counts_people_and_shares(make_box: Boxes) -> None:
    scene = room_with(Placed(make_box("person", (0.5, 1.7, 0.4), RED), (3.0, 0.0, 4.0), 0.0))
    view = render(scene, LEVEL, 96)
    values = known_metadata(view, seen_things(scene, LEVEL, view)).values
    assert values["n_humans"] == values["n_sam_instances"] == 1
    assert values["objectness"] == pytest.approx((view.things == 0).mean())
    assert values["walkability"] == pytest.approx((view.classes == 2).mean())
    assert 0 < values["occlusion_score"] < 0.25


def test_words_are_english() -> None:
    singular = ["table", "set of shelves", "loaf of bread", "woman", "shelf", "bench", "vanity", "tray", "potted plant"]
    plurals = "tables, sets of shelves, loaves of bread, women, shelves, benches, vanities, trays and potted plants"
    assert listed([plural(noun) for noun in singular]) == plurals
    assert [with_article(noun) for noun in ("armchair", "table")] == ["an armchair", "a table"]


@pytest.mark.parametrize("paint", PAINTS)
def test_paints_are_called_what_they_are(paint: str) -> None:
    colour = np.array([PAINTS[paint]], np.float32) / 255
    assert NAMES[int(name_colours(colour)[0])] == SAME.get(paint, paint)


def test_a_colour_of_less_than_most_is_not_named() -> None:
    red, blue = [0.8, 0.1, 0.1], [0.1, 0.2, 0.8]
    assert clear_name(np.array([red] * 7 + [blue] * 3, np.float32)) == "red"
    assert clear_name(np.array([red] * 5 + [blue] * 5, np.float32)) is None


def test_an_empty_room_has_no_caption() -> None:
    view = render(room_with(), LEVEL, 96)
    assert compose(room_with().room, view, seen_things(room_with(), LEVEL, view), np.random.default_rng(0)) == ()
