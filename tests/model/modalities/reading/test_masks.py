"""Only what a mask covers is left of a picture, whatever the sizes of both."""

import io

import numpy as np
import pytest
from PIL import Image

from anyseek.model.modalities.reading.errors import BadRegion, DecodeError
from anyseek.model.modalities.reading.masks import understand_masked
from anyseek.search.settings import Limits

LIMITS = Limits()
RED, BLUE, GREY = (200, 30, 30), (20, 40, 220), (120, 120, 120)


def encoded(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """Red above blue on grey: rows 10 to 50, columns 20 to 40 of 60 x 80."""
    values = np.full((height, width, 3), GREY, np.uint8)
    across = slice(width // 4, width // 2)
    values[height // 6 : height // 2, across] = RED
    values[height // 2 : height * 5 // 6, across] = BLUE
    return values


def masked(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    value = understand_masked("image", encoded(picture), LIMITS, "a.png", encoded(mask)).value
    assert isinstance(value, np.ndarray)
    return value


@pytest.mark.parametrize("number", [1, 255])
@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_not_0_counts(number: int, scale: int) -> None:
    mask = np.zeros((60 // scale, 80 // scale), np.uint8)
    mask[10 // scale : 50 // scale, 20 // scale : 40 // scale] = number
    found = masked(scene(), mask)
    np.testing.assert_array_equal(found, scene()[10:50, 20:40])


def test_the_rest_of_its_box_has_the_mean_colour_of_what_counts() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 20:40] = 1
    mask[40, 50] = 1  # makes the box wider
    found = masked(scene(), mask)
    assert found.shape == (31, 31, 3)
    np.testing.assert_array_equal(found[:20, :20], scene()[10:30, 20:40])
    mean = np.rint(scene()[mask == 1].mean(axis=0))
    np.testing.assert_array_equal(found[25, 5], mean)
    assert (found[-1, -1] == GREY).all()


def test_a_mask_thinner_than_a_pixel_of_the_picture_covers_what_it_touches() -> None:
    mask = np.zeros((600, 800), np.uint8)
    mask[300, 100:700] = mask[100, 400] = 1
    assert masked(scene(), mask).shape[:2] == (21, 60)


@pytest.mark.parametrize(("rows", "share"), [(60, "100.0%"), (30, "50.0%"), (1, "1.7%")])
def test_the_sentence_says_how_much_counts(rows: int, share: str) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[:rows] = 1
    assert said(mask) == f"only {share} of a.png is used, where its mask is not 0"


def test_a_pixel_is_more_than_nothing() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[3, 4] = 1
    assert said(mask) == "less than 0.1% of a.png is used, where its mask is not 0"


def said(mask: np.ndarray) -> str:
    understood = understand_masked("image", encoded(scene()), LIMITS, "a.png", encoded(mask)).understood
    assert understood is not None
    return understood.sentence


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros((60, 80), np.uint8), "the mask of a.png is 0 everywhere"),
        (np.ones((80, 60), np.uint8), "the mask of a.png is 60 x 80, which are not the proportions"),
        (np.ones((60, 80, 3), np.uint8), "the mask of a.png"),
    ],
)
def test_a_wrong_mask_is_one_sentence(mask: np.ndarray, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        masked(scene(), mask)


def test_only_pictures_have_masks() -> None:
    with pytest.raises(BadRegion, match="is depth and has a mask"):
        understand_masked("depth", b"", LIMITS, "a.png", encoded(np.ones((2, 2), np.uint8)))
    with pytest.raises(DecodeError, match=r"the mask of a\.png"):
        understand_masked("rgb", encoded(scene()), LIMITS, "a.png", b"nonsense")
