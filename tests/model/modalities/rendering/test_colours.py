import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anyseek.model.modalities.rendering.colours import UNKNOWN, class_colours, component_colours, ramp


def _brightness(colours: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
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
    red = component_colours(features)[..., 0].astype(int)
    assert min(red[:3].min(), red[3:].min()) < max(red[:3].max(), red[3:].max())
    assert (red[:3].min() > red[3:].max()) or (red[:3].max() < red[3:].min())


@given(arrays.arrays(np.float32, (3, 2, 4), elements=st.floats(-1e6, 1e6, width=32)))
def test_components_of_anything_are_a_picture(features: np.ndarray) -> None:  # type: ignore[type-arg]
    colours = component_colours(features)
    assert colours.dtype == np.uint8
    assert colours.shape == (2, 4, 3)


def test_a_map_of_one_vector_is_grey() -> None:
    assert np.ptp(component_colours(np.ones((8, 4, 4), np.float32))) == 0
