"""SAM instances as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.formats.sam_instances import (
    MaskInstance,
    QueryPoint,
    instances_from_text,
    instances_to_text,
    query_grid,
)
from anyseek.model.modalities.formats.spans import FormatInvalid
from tests.model.modalities.formats.strategies import codes, texts

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


@given(texts)
def test_any_text_can_be_read(text: str) -> None:
    read = instances_from_text(text)
    assert instances_from_text(instances_to_text(read)) == read


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
