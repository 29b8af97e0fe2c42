"""How values enter a bridge's space, and its files."""

from pathlib import Path

import numpy as np
import pytest

from anyseek.model.bridges.space import (
    Bridge,
    ModalityMap,
    bridge_bytes,
    features_of,
    fingerprint_of,
    load_bridge,
    metadata_features,
    palette_features,
    unit,
)
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import centre
from tests.random_bridge import random_bridge

AXES: FloatArray = np.eye(4, dtype=np.float32)


def test_a_plain_way_leaves_what_was_rendered() -> None:
    np.testing.assert_array_equal(ModalityMap.centred(AXES[:0]).directions(AXES, None), AXES)


def test_the_nearest_mean_is_taken_off() -> None:
    modality_map = ModalityMap.centred(AXES[:2])
    rows = unit(np.array([[3, 0, 1, 0], [0, 3, 0, 1]], np.float32))
    expected = unit(rows - AXES[:2])
    np.testing.assert_allclose(modality_map.directions(rows, None), expected, atol=1e-6)
    assert (expected[0] @ AXES[2], expected[1] @ AXES[3]) > (0.9, 0.9)


def test_what_the_map_predicts_is_added_by_its_weight() -> None:
    modality_map = ModalityMap(np.zeros((0, 4), np.float32), np.zeros(4, np.float32), AXES[:, :1], AXES[1:2], 0.5)
    np.testing.assert_allclose(modality_map.directions(AXES[:1], None), unit(AXES[:1] + 0.5 * AXES[1:2]), atol=1e-6)


def test_a_map_of_features_needs_no_look() -> None:
    modality_map = ModalityMap(
        np.zeros((0, 4), np.float32), np.ones(2, np.float32), np.eye(2, dtype=np.float32), AXES[:2], 1.0
    )
    np.testing.assert_allclose(modality_map.directions(None, np.array([[1, 3]], np.float32)), AXES[1:2], atol=1e-6)


def test_a_value_that_equals_the_mean_has_no_direction() -> None:
    assert not ModalityMap.centred(AXES[:1]).directions(AXES[:1], None).any()


def test_items_without_a_photo_are_found_by_their_direction_after_centring() -> None:
    bridge = Bridge(0.6 * AXES[0], 0.7, {})
    stored = bridge.items(AXES[1:3])
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-6)
    assert (centre(stored, bridge.prior) * AXES[1:3]).sum(axis=1).min() > 0.95


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    bridge = random_bridge(24)
    path, weights = (
        tmp_path / "bridge.safetensors",
        {name: modality_map.weight for name, modality_map in bridge.maps.items()},
    )
    path.write_bytes(bridge_bytes(bridge))
    read = load_bridge(path, weights, 24)
    assert read.spread == pytest.approx(bridge.spread)
    assert read.maps.keys() == bridge.maps.keys()
    for name, modality_map in bridge.maps.items():
        for part in ("means", "origin", "inward", "outward"):
            np.testing.assert_array_equal(getattr(read.maps[name], part), getattr(modality_map, part))


def test_files_that_are_missing_broken_or_of_another_model_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bridge.safetensors"
    with pytest.raises(WeightsMissing, match="anyseek models adapt"):
        load_bridge(path, {}, 24)
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsCorrupt, match="is not a bridge"):
        load_bridge(path, {}, 24)
    path.write_bytes(bridge_bytes(random_bridge(24)))
    with pytest.raises(WeightsCorrupt, match="smell"):
        load_bridge(path, {"smell": 1.0}, 24)
    with pytest.raises(CheckpointMismatch, match="not 512"):
        load_bridge(path, {}, 512)


def test_the_fingerprint_covers_the_model_beneath_the_numbers_and_the_weights() -> None:
    prints = {
        fingerprint_of("a", b"1", {"depth": 0.5}),
        fingerprint_of("b", b"1", {"depth": 0.5}),
        fingerprint_of("a", b"2", {"depth": 0.5}),
        fingerprint_of("a", b"1", {"depth": 1.0}),
    }
    assert len(prints) == 4


def test_only_palettes_and_metadata_have_features() -> None:
    assert features_of("depth", []) is None
    found = features_of("metadata", [Metadata({"brightness": 10.0}), Metadata({"contrast": 10.0})])
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
