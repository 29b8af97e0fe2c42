"""Bounding boxes as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.boxes import Box, LabelledBox, boxes_from_text, boxes_to_text
from anyseek.model.modalities.formats.spans import FormatInvalid
from tests.model.modalities.formats.strategies import boxes

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
