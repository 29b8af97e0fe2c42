"""Brightness, colourfulness and basic colours, as the papers and the pixels say."""

import numpy as np
import pytest

from anyseek.model.colours.measures import BASIC_COLOURS, brightness, colour_shares, colourfulness
from anyseek.model.modalities.drawings import ByteArray


def plain(*colour: int) -> ByteArray:
    return np.full((4, 6, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((0, 0, 0), 0.0), ((255, 255, 255), 1.0), ((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114)],
)
def test_brightness_is_the_luma(colour: tuple[int, int, int], expected: float) -> None:
    assert brightness(plain(*colour)) == pytest.approx(expected)


@pytest.mark.parametrize("grey", [0, 77, 255])
def test_grey_is_not_colourful(grey: int) -> None:
    assert colourfulness(plain(grey, grey, grey)) == 0


def test_colourfulness_of_one_colour_is_that_of_its_means() -> None:
    """Red: rg is 255 and yb 127.5 everywhere, so both standard deviations are 0."""
    assert colourfulness(plain(255, 0, 0)) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_colourfulness_of_two_colours_has_their_deviations_too() -> None:
    """Red and green: rg is 255 and -255, yb 127.5 in both."""
    both = np.concatenate([plain(255, 0, 0), plain(0, 255, 0)])
    assert colourfulness(both) == pytest.approx(255 + 0.3 * 127.5)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((3, 3, 3), "black"),
        ((250, 250, 250), "white"),
        ((120, 124, 122), "grey"),
        ((220, 20, 60), "red"),
        ((255, 140, 0), "orange"),
        ((255, 215, 0), "yellow"),
        ((34, 139, 34), "green"),
        ((0, 0, 205), "blue"),
        ((135, 206, 235), "blue"),
        ((128, 0, 128), "purple"),
        ((255, 105, 180), "pink"),
        ((139, 69, 19), "brown"),
    ],
)
def test_colours_have_the_names_that_people_give_them(colour: tuple[int, int, int], name: str) -> None:
    shares = colour_shares(plain(*colour))
    assert shares[name] == 1
    assert tuple(shares) == BASIC_COLOURS
    assert len(BASIC_COLOURS) == 11


def test_shares_are_those_of_the_pixels() -> None:
    shares = colour_shares(np.concatenate([plain(200, 20, 35)] * 3 + [plain(255, 255, 255)]))
    assert (shares["red"], shares["white"]) == (0.75, 0.25)
    assert sum(shares.values()) == pytest.approx(1)
