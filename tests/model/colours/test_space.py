"""Palettes find pictures of their colours, wherever these are and whatever lies around them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.colours import space
from anyseek.model.colours.space import COLOURS, colour_space, to_lab
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray, Sample, Value

SPACE = colour_space(instead="elsewhere")
RED, PINK, GREEN, BLUE, WHITE, BLACK, GREY = (
    (220, 30, 40),
    (240, 120, 130),
    (30, 160, 60),
    (40, 70, 200),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
)


def icon(*discs: tuple[int, int, int], ground: tuple[int, int, int] = WHITE, size: int = 96) -> ByteArray:
    """Discs beside each other on a ground."""
    picture = Image.new("RGB", (size, size), ground)
    pen, width = ImageDraw.Draw(picture), size * 0.8 / len(discs)
    for n, colour in enumerate(discs):
        left = size * 0.1 + n * width
        pen.ellipse((left, size * 0.3, left + width, size * 0.7), fill=colour)
    return np.asarray(picture)


def vector(modality: str, value: Value, gallery: bool = False) -> FloatArray:
    return SPACE.vectors([Sample({modality: value})], gallery)[0]


def palette(*colours: tuple[int, int, int]) -> FloatArray:
    return vector("color_palette", np.array(colours, np.uint8))


def order(query: FloatArray, *pictures: ByteArray) -> list[int]:
    """The places of pictures, best first."""
    stored = np.stack([vector("rgb", picture, gallery=True) for picture in pictures])
    return np.argsort(-(stored @ query)).tolist()


def test_a_colour_finds_what_has_it_then_what_is_near_it() -> None:
    assert order(palette(RED), icon(GREEN), icon(PINK), icon(RED), icon(BLUE))[:2] == [2, 1]
    assert order(palette(BLUE), icon(RED), icon(GREEN), icon((60, 90, 170)))[0] == 2


def test_two_colours_find_what_has_both() -> None:
    assert order(palette(RED, GREEN), icon(RED), icon(GREEN), icon(RED, GREEN), icon(RED, BLUE))[0] == 2


def test_a_colour_counts_wherever_it_is_and_however_large() -> None:
    sky = np.full((60, 90, 3), (90, 160, 230), np.uint8)
    sky[40:] = np.random.default_rng(0).integers(30, 120, (20, 90, 3))  # a photo's ground: the border is not uniform
    assert order(palette((90, 160, 230)), icon(GREY), sky)[0] == 1


def test_a_white_ground_hardly_counts_but_white_things_are_white() -> None:
    white_on_blue = icon(WHITE, ground=BLUE)
    assert order(palette(WHITE), icon(RED), white_on_blue, icon(GREEN))[0] == 1
    on_white, on_grey = vector("rgb", icon(RED)), vector("rgb", icon(RED, ground=GREY))
    assert on_white @ on_grey > 0.9
    assert palette(WHITE) @ vector("rgb", icon(RED)) > palette(GREEN) @ vector("rgb", icon(RED))


def test_an_empty_sheet_is_its_ground() -> None:
    sheet = np.full((40, 40, 3), 255, np.uint8)
    assert palette(WHITE) @ vector("rgb", sheet) == pytest.approx(1, abs=0.02)


def test_the_order_of_a_palette_and_the_size_of_a_picture_do_not_matter() -> None:
    np.testing.assert_allclose(palette(RED, GREEN, BLUE), palette(BLUE, RED, GREEN), atol=1e-6)
    assert vector("rgb", icon(RED, BLUE)) @ vector("rgb", icon(RED, BLUE, size=300)) > 0.98
    assert np.linalg.norm(vector("rgb", np.zeros((1, 1, 3), np.uint8))) == pytest.approx(1)
    assert np.linalg.norm(vector("rgb", np.zeros((1, 900, 3), np.uint8))) == pytest.approx(1)


def test_samples_without_colours_are_far_from_all_palettes() -> None:
    words = vector("caption", "a red heart")
    assert np.linalg.norm(words) == 1
    assert palette(RED) @ words == 0
    np.testing.assert_array_equal(words, vector("metadata", "brightness"))


def test_an_item_has_the_colours_of_its_picture_and_a_query_those_of_both() -> None:
    both = Sample({"rgb": icon(RED), "color_palette": np.array([BLUE], np.uint8), "caption": "a ball"})
    stored, asked = SPACE.vectors([both], gallery=True)[0], SPACE.vectors([both], gallery=False)[0]
    np.testing.assert_array_equal(stored, vector("rgb", icon(RED)))
    assert palette(BLUE) @ asked > 0.5 > palette(BLUE) @ stored
    assert palette(RED) @ asked > 0.5


def test_vectors_are_those_that_the_fingerprint_stands_for() -> None:
    """A changed vector needs another version."""
    assert (SPACE.space.name, SPACE.space.dimension, SPACE.space.instead) == (COLOURS, 234, "elsewhere")
    assert SPACE.space.fingerprint.startswith("a899b57b"), "record the numbers below anew"
    assert not SPACE.space.gallery_prior.any(), "centring would take the commonest colours away"
    rows = [palette(RED), palette(GREY, WHITE), vector("rgb", icon(RED, BLUE)), vector("rgb", icon(BLACK))]
    largest = [[0.429, 0.392, 0.357], [0.425, 0.357, 0.278], [0.327, 0.291, 0.275], [0.581, 0.315, 0.29]]
    np.testing.assert_allclose([np.sort(row)[::-1][:3] for row in rows], largest, atol=1e-3)
    assert [int(row.argmax()) for row in rows] == [88, 227, 73, 3]


def test_a_vector_is_what_the_definition_says() -> None:
    """By all differences of colours and bins; `colours` computes a product of matrices."""
    colours = np.random.default_rng(0).integers(0, 256, (9, 3), np.uint8)
    far = ((to_lab(colours)[:, None] - space._BINS[None]) ** 2).sum(axis=2)
    near = np.exp(-far / (2 * space._BANDWIDTH**2))
    shares = (near / near.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(vector("color_palette", colours)[:-1], np.sqrt(shares), atol=1e-6)
