import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.rendering.renderers import UNKNOWN, class_colours, principal_component_colours, ramp
from anyseek.model.modalities.values import render_value
from anyseek.model.seam import Regions


def test_near_is_bright_and_the_unmeasured_is_black() -> None:
    depth = np.array([[1.0, 2.0], [4.0, np.nan]], np.float32)
    picture = render_value("depth", depth)
    assert picture.shape == (2, 2, 3)
    grey = picture[:, :, 0].astype(int)
    assert grey[0, 0] > grey[0, 1] > grey[1, 0] > grey[1, 1] == 0
    whole = render_value("depth", np.full((3, 3), np.nan, np.float32))
    assert not whole.any()


@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_the_unit_of_depth_does_not_matter(factor: float) -> None:
    depth = np.linspace(1, 9, 64, dtype=np.float32).reshape(8, 8)
    one, other = render_value("depth", depth), render_value("depth", depth * np.float32(factor))
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_a_class_has_one_colour_whatever_its_number() -> None:
    one = render_value("semseg", Regions(np.array([[1, 2]]), {1: "sky", 2: "tree"}))
    other = render_value("semseg", Regions(np.array([[7, 3]]), {3: "tree", 7: "sky"}))
    assert np.array_equal(one, other if other is not None else [])
    assert not np.array_equal(one[0, 0], one[0, 1])


def test_drawings_are_black_on_white_whatever_their_polarity() -> None:
    drawing = np.zeros((8, 8), np.uint8)
    drawing[3:5, 2:6] = 255
    light, dark = render_value("canny_edge", drawing), render_value("sketch", 255 - drawing)
    assert np.array_equal(light, dark if dark is not None else [])
    assert light[0, 0].tolist() == [255, 255, 255]
    assert light[3, 3].tolist() == [0, 0, 0]


def test_boxes_are_outlines_in_the_colours_of_their_names() -> None:
    boxes = (LabelledBox(Box(0.1, 0.1, 0.5, 0.5), "chair", 1.0), LabelledBox(Box(0.6, 0.6, 0.9, 0.9), "lamp", 1.0))
    picture = render_value("bounding_boxes", boxes)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3


def test_words_and_vectors_have_no_look() -> None:
    assert render_value("caption", "a chair") is render_value("dinov2", np.zeros((8, 2, 2), np.float32)) is None


def _brightness(colours: np.ndarray) -> np.ndarray:
    return colours @ np.array([0.2126, 0.7152, 0.0722])


def test_the_ramp_gets_darker_with_every_step() -> None:
    colours = ramp(np.linspace(0, 1, 30))
    assert (np.diff(_brightness(colours)) < 0).all()
    assert ramp(np.array([[-1.0, 2.0]])).tolist() == [[colours[0].tolist(), colours[-1].tolist()]]


def test_every_class_has_a_colour_of_its_own_that_never_changes() -> None:
    numbers = np.arange(134)
    colours = class_colours(numbers)
    assert colours[0].tolist() == list(UNKNOWN)
    assert len({tuple(colour) for colour in colours.tolist()}) == 134
    np.testing.assert_array_equal(class_colours(numbers[::-1]), colours[::-1])
    neighbours = np.abs(np.diff(colours.astype(int), axis=0)).max(axis=1)
    assert neighbours.min() > 60


def test_components_show_what_differs_most() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(16, 6, 5)).astype(np.float32) * 0.01
    features[:, :3] += rng.normal(size=16).astype(np.float32)[:, None, None]  # two halves
    red = principal_component_colours(features)[..., 0].astype(int)
    assert min(red[:3].min(), red[3:].min()) < max(red[:3].max(), red[3:].max())
    assert (red[:3].min() > red[3:].max()) or (red[:3].max() < red[3:].min())


@given(arrays.arrays(np.float32, (3, 2, 4), elements=st.floats(-1e6, 1e6, width=32)))
def test_components_of_anything_are_a_picture(features: np.ndarray) -> None:
    colours = principal_component_colours(features)
    assert (colours.dtype, colours.shape) == (np.uint8, (2, 4, 3))
    assert np.ptp(principal_component_colours(np.ones_like(features))) == 0  # one vector throughout is grey
