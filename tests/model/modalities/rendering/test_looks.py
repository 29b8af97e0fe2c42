import numpy as np
import pytest

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.values import as_picture
from anyseek.model.seam import Regions


def test_near_is_bright_and_the_unmeasured_is_black() -> None:
    depth = np.array([[1.0, 2.0], [4.0, np.nan]], np.float32)
    picture = as_picture("depth", depth)
    assert picture is not None
    assert picture.shape == (2, 2, 3)
    grey = picture[:, :, 0].astype(int)
    assert grey[0, 0] > grey[0, 1] > grey[1, 0] > grey[1, 1] == 0
    whole = as_picture("depth", np.full((3, 3), np.nan, np.float32))
    assert whole is not None
    assert not whole.any()


@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_the_unit_of_depth_does_not_matter(factor: float) -> None:
    depth = np.linspace(1, 9, 64, dtype=np.float32).reshape(8, 8)
    one, other = as_picture("depth", depth), as_picture("depth", depth * np.float32(factor))
    assert one is not None
    assert other is not None
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_a_class_has_one_colour_whatever_its_number() -> None:
    one = as_picture("semseg", Regions(np.array([[1, 2]]), {1: "sky", 2: "tree"}))
    other = as_picture("semseg", Regions(np.array([[7, 3]]), {3: "tree", 7: "sky"}))
    assert one is not None
    assert np.array_equal(one, other if other is not None else [])
    assert not np.array_equal(one[0, 0], one[0, 1])


def test_drawings_are_black_on_white_whatever_their_polarity() -> None:
    drawing = np.zeros((8, 8), np.uint8)
    drawing[3:5, 2:6] = 255
    light, dark = as_picture("canny_edge", drawing), as_picture("sketch", 255 - drawing)
    assert light is not None
    assert np.array_equal(light, dark if dark is not None else [])
    assert light[0, 0].tolist() == [255, 255, 255]
    assert light[3, 3].tolist() == [0, 0, 0]


def test_boxes_are_outlines_in_the_colours_of_their_names() -> None:
    boxes = (LabelledBox(Box(0.1, 0.1, 0.5, 0.5), "chair", 1.0), LabelledBox(Box(0.6, 0.6, 0.9, 0.9), "lamp", 1.0))
    picture = as_picture("bounding_boxes", boxes)
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3


def test_words_and_vectors_have_no_look() -> None:
    assert as_picture("caption", "a chair") is None
    assert as_picture("dinov2_global", np.zeros(8, np.float32)) is None
    assert as_picture("dinov2", np.zeros((8, 2, 2), np.float32)) is None
