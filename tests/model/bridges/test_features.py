"""What the maps of palettes and metadata see."""

import numpy as np

from anyseek.model.bridges.features import features_of, metadata_features, palette_features
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata


def test_only_palettes_and_metadata_have_features() -> None:
    assert features_of("depth", []) is None
    found = features_of("metadata", [Metadata({"brightness": 10.0}), Metadata({"contrast": 10.0})])
    assert found is not None
    assert found.shape == (2, 5 * len(FIELDS))


def test_a_palette_is_a_set_of_colours() -> None:
    red, blue, nearly = (np.array([colour], np.uint8) for colour in ([250, 0, 0], [0, 0, 250], [240, 10, 5]))
    assert np.allclose(palette_features(np.vstack([red, blue])), palette_features(np.vstack([blue, red])))
    assert np.isclose(palette_features(red).sum(), 1)
    far, near = (np.abs(palette_features(red) - palette_features(other)).sum() for other in (blue, nearly))
    assert near < far / 4


def test_absent_fields_of_metadata_say_nothing_and_near_values_are_alike() -> None:
    dark, darker, bright = (metadata_features(Metadata({"brightness": value})) for value in (30.0, 20.0, 230.0))
    both = metadata_features(Metadata({"brightness": 30.0, "n_humans": 2}))
    assert dark @ darker > 0.5
    assert dark @ bright == 0
    assert np.array_equal(both[dark > 0], dark[dark > 0])
    assert not metadata_features(Metadata({})).any()
