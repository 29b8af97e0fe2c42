"""Human poses as text and back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.formats.human_poses import GROUPS, HumanPose, poses_from_text, poses_to_text
from anyseek.model.modalities.formats.spans import FormatInvalid
from tests.model.modalities.formats.strategies import boxes, codes, texts


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
