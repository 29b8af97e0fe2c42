import numpy as np
import pytest

from anyseek.model.rooms.colours import NAMES, PAINTS, clear_name, name_colours, random_paint

SAME = {"dark green": "green", "light blue": "blue", "navy": "blue"}


@pytest.mark.parametrize("paint", PAINTS)
def test_paints_are_called_what_they_are(paint: str) -> None:
    colour = np.array([PAINTS[paint]], np.float32) / 255
    assert NAMES[int(name_colours(colour)[0])] == SAME.get(paint, paint)


def test_a_colour_of_less_than_most_is_not_named() -> None:
    red, blue = [0.8, 0.1, 0.1], [0.1, 0.2, 0.8]
    assert clear_name(np.array([red] * 7 + [blue] * 3, np.float32)) == "red"
    assert clear_name(np.array([red] * 5 + [blue] * 5, np.float32)) is None


def test_random_paints_are_colours() -> None:
    random = np.random.default_rng(0)
    colours = np.array([random_paint(random) for _ in range(200)])
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert len(np.unique(colours, axis=0)) == 200
