"""Values as the texts of published checkpoints, and back."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.boxes import Box, LabelledBox, boxes_from_text, boxes_to_text
from anyseek.model.modalities.formats.color_palette import (
    palette_from_text,
    palette_of,
    palette_to_text,
    stripes,
)
from anyseek.model.modalities.formats.human_poses import GROUPS, HumanPose, poses_from_text, poses_to_text
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata, metadata_from_text, metadata_to_text
from anyseek.model.modalities.formats.sam_instances import (
    MaskInstance,
    QueryPoint,
    instances_from_text,
    instances_to_text,
    query_grid,
)
from anyseek.model.modalities.formats.spans import FormatInvalid
from tests.model.modalities.formats.strategies import boxes, codes, texts

labels = st.sampled_from(["bus", "traffic light", "person", "potted plant"])


@given(st.lists(st.builds(LabelledBox, boxes, labels, st.floats(0, 1)), max_size=6))
def test_boxes_come_back_to_the_nearest_bin(made: list[LabelledBox]) -> None:
    kept = sorted((b for b in made if b.score >= 0.6), key=lambda b: b.box.xmin**2 + b.box.ymin**2)
    back = boxes_from_text(boxes_to_text(made))
    assert [b.label for b in back] == [b.label for b in kept]
    for ours, given_box in zip(back, kept, strict=True):
        assert ours.box.corners == pytest.approx(given_box.box.corners, abs=0.5 / 999 + 1e-9)


def test_corners_outside_the_picture_count_as_its_edge() -> None:
    assert boxes_to_text([LabelledBox(Box(-0.2, 0.0, 1.5, 1.0), "bus")]) == "v0=0 v1=0 v2=999 v3=999 bus"


def test_what_is_no_box_is_left_out() -> None:
    text = "v1=3 v0=1 v1=2 v2=3 v3=4 bus v0=1 v1=2 v2=3 v3=4 v0=5 v1=6 v2=7 v3=8 stop sign [EOS] v0=1 cat"
    (box,) = boxes_from_text(text)[1:]
    assert [b.label for b in boxes_from_text(text)] == ["bus", "stop sign"]
    assert box.box == Box(5 / 999, 6 / 999, 7 / 999, 8 / 999)


@pytest.mark.parametrize("label", ["", "v0=3", "two  spaces", "[EOS]"])
def test_a_class_that_would_not_come_back_is_refused(label: str) -> None:
    with pytest.raises(FormatInvalid, match="class name"):
        LabelledBox(Box(0, 0, 1, 1), label)


def _numbers(count: int, low: float, high: float) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[st.floats(low, high)] * count)


people = st.builds(
    HumanPose, boxes, st.tuples(*[codes] * 8), _numbers(9, -1, 1), _numbers(3, -1, 19), _numbers(10, -3, 3)
)
PERSON = HumanPose(Box(0, 0, 1, 1), (511, 512, 0, 1023, 1, 2, 3, 4), (0.5,) * 9, (1.0,) * 3, (0.0,) * 10)


@given(st.lists(st.tuples(people, st.permutations(GROUPS)), max_size=3))
def test_people_come_back_to_the_nearest_bin(made: list[tuple[HumanPose, list[str]]]) -> None:
    text = poses_to_text([person for person, _ in made], [order for _, order in made])
    back = poses_from_text(text)
    assert len(back) == len(made)
    for ours, (person, _) in zip(back, made, strict=True):
        assert ours.pose == person.pose
        assert ours.rotation == pytest.approx(person.rotation, abs=0.51 * 2 / 999)
        assert ours.camera == pytest.approx(person.camera, abs=0.51 * 20 / 999)
        assert ours.shape == pytest.approx(person.shape, abs=0.51 * 6 / 999)
    if made:
        assert poses_to_text(back, [order for _, order in made]) == text


@given(texts)
def test_any_text_can_be_read(text: str) -> None:
    people = poses_from_text(text)
    assert poses_from_text(poses_to_text(people)) == people
    points = instances_from_text(text)
    assert instances_from_text(instances_to_text(points)) == points


def test_39_words_a_person_and_none_without_one() -> None:
    assert len(poses_to_text([PERSON, PERSON]).split()) == 78
    assert "pose v0=511 v1=0 v0=0 v1=511" in poses_to_text([PERSON])
    assert poses_to_text([]) == "none"
    assert poses_from_text("none") == []


def test_numbers_out_of_range_count_as_the_nearest() -> None:
    assert "camera v0=999 v0=0 v0=100" in poses_to_text([replace(PERSON, camera=(25.0, -7.0, 1.0))])


def test_incomplete_people_are_left_out() -> None:
    text = poses_to_text([PERSON, PERSON])
    assert len(poses_from_text(text.replace("shape", "camera", 1))) == 1
    assert len(poses_from_text(text.rsplit(" ", 2)[0])) == 1


def test_wrong_counts_codes_and_orders_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="camera of a person has 3 numbers, not 2"):
        replace(PERSON, camera=(1.0, 2.0))
    with pytest.raises(FormatInvalid, match="1024"):
        poses_to_text([replace(PERSON, pose=(1024,) * 8)])
    with pytest.raises(FormatInvalid, match="in some order"):
        poses_to_text([PERSON], [("pose", "pose", "camera", "shape")])


pixels = st.integers(0, 223)
masks = st.builds(
    MaskInstance,
    st.builds(Box, *[pixels.map(float)] * 4),
    st.tuples(*[codes] * 16),
)
points = st.builds(QueryPoint, pixels, pixels, st.lists(masks, max_size=2).map(tuple))


@given(st.lists(points, max_size=4))
def test_points_come_back(made: list[QueryPoint]) -> None:
    assert instances_from_text(instances_to_text(made)) == made


def test_incomplete_masks_are_left_out() -> None:
    whole = instances_to_text([QueryPoint(3, 4, (MaskInstance(Box(1, 2, 3, 4), tuple(range(16))),))])
    assert instances_from_text(whole.rsplit(" ", 1)[0]) == [QueryPoint(3, 4)]
    assert instances_from_text("point v1=3 v0=4 none") == []


def test_a_grid_of_points() -> None:
    assert query_grid(1) == [(112, 112)]
    assert query_grid(7)[1] == (28, 56)


def test_wrong_counts_and_places_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="16 tokens, not 1"):
        MaskInstance(Box(0, 0, 1, 1), (1,))
    with pytest.raises(FormatInvalid, match="-1 is not a bin"):
        instances_to_text([QueryPoint(-1, 0)])


numbers = st.floats(-1e6, 1e6)


@given(st.dictionaries(st.sampled_from(list(FIELDS)), numbers))
def test_reading_and_writing_again_changes_nothing(values: dict[str, float]) -> None:
    text = metadata_to_text(Metadata(values))
    back = metadata_from_text(text)
    assert list(back.values) == list(values)
    assert metadata_to_text(back) == text


@pytest.mark.parametrize("name", FIELDS)
def test_every_bin_stands_for_a_value_in_it(name: str) -> None:
    field = FIELDS[name]
    values = [field.from_bin(number) for number in range(1000)]
    used = [value for value in values if value is not None]
    assert used == sorted(used)
    assert [field.to_bin(value) for value in used] == list(range(len(used)))


def test_what_is_no_pair_of_a_field_is_left_out() -> None:
    read = metadata_from_text("v1=16 v0=12 v1=99 v0=3 v1=5 bus v0=7 v1=19 v0=5 v1=16 v0=13 v1=5 v0=2 [EOS]")
    assert read.values == {"semantic_diversity": 12, "n_humans": 2}


def test_an_unknown_field_and_a_value_that_is_no_number_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="'smell'"):
        Metadata({"smell": 1.0})
    with pytest.raises(FormatInvalid, match="nan"):
        metadata_to_text(Metadata({"brightness": math.nan}))


def test_a_uniform_background_is_no_colour_of_the_palette() -> None:
    picture = np.full((80, 80, 3), 255, np.uint8)
    picture[20:60, 20:50] = (200, 0, 0)
    picture[20:60, 50:60] = (0, 0, 200)
    palette = palette_of(picture, 2)
    assert palette.shape == (2, 3)
    np.testing.assert_allclose(palette, [(200, 0, 0), (0, 0, 200)], atol=12)


def test_a_plain_picture_has_its_one_colour() -> None:
    np.testing.assert_allclose(palette_of(np.full((20, 20, 3), 77, np.uint8), 5), [[77, 77, 77]], atol=2)


@given(arrays(np.uint8, st.tuples(st.integers(1, 7), st.just(3))))
def test_colours_come_back_from_text(palette: ByteArray) -> None:
    np.testing.assert_array_equal(palette_from_text(palette_to_text(palette)), palette)


def test_what_is_no_colour_is_left_out() -> None:
    text = "v1=2 v0=1 v0=2 v0=300 v0=4 v0=5 v0=6 v0=7 v0=8 v0=9 v0=1 v0=1 v0=1 v0=255"
    assert palette_from_text(text).tolist() == [[4, 5, 6], [7, 8, 9]]
    assert palette_from_text("v0=1 v0=2").shape == (0, 3)
    assert len(palette_from_text("v1=999 " + "v0=1 " * 30)) == 7


def test_a_palette_without_text_is_refused() -> None:
    with pytest.raises(FormatInvalid, match="1 to 7 colours"):
        palette_to_text(np.zeros((8, 3), np.uint8))


def test_stripes_show_the_colours_from_left_to_right() -> None:
    picture = stripes(np.array([[255, 0, 0], [0, 0, 255]], np.uint8), 6)
    assert picture.shape == (6, 6, 3)
    assert picture[5, :, 0].tolist() == [255, 255, 255, 0, 0, 0]
