"""Looks: style is taken off, places are kept."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.encoders.efficientnet import PARTS, parts_of
from anyseek.model.towers.looks import places_vectors, whole_vectors

PARTS_OF_TWO = torch.randn(2, 8, PARTS, PARTS, generator=torch.Generator().manual_seed(0)) * 5


def test_both_looks_are_unit_rows() -> None:
    whole = whole_vectors(torch.rand(3, 1280))
    assert whole.shape == (3, 1280)
    assert whole.norm(dim=1) == pytest.approx(1.0, abs=1e-5)
    places = places_vectors(parts_of(torch.randn(3, 112, 14, 14)))
    assert places.shape == (3, 112 * 16)
    assert places.norm(dim=1) == pytest.approx(1.0, abs=1e-5)


def test_a_strong_channel_counts_for_less_than_in_the_pooled_vector() -> None:
    pooled = torch.full((1, 100), 0.1)
    pooled[0, 0] = 10.0
    assert F.normalize(pooled, dim=1)[0, 0] > 0.9
    assert whole_vectors(pooled)[0, 0] < 0.6
    assert not whole_vectors(torch.zeros(1, 100)).any(), "a blank has no look, and no NaN"


def test_what_a_rendering_has_everywhere_is_taken_off() -> None:
    shift = torch.randn(1, 8, 1, 1, generator=torch.Generator().manual_seed(1)) * 20
    found = places_vectors(PARTS_OF_TWO)
    assert torch.allclose(found, places_vectors(PARTS_OF_TWO + shift), atol=1e-5)
    assert not places_vectors(torch.ones(1, 8, PARTS, PARTS)).any()


def test_where_things_are_is_kept() -> None:
    found, moved = places_vectors(PARTS_OF_TWO), places_vectors(PARTS_OF_TWO.flip(3))
    assert float((found * moved).sum(dim=1).abs().max()) < 0.6
    assert torch.equal(places_vectors(PARTS_OF_TWO.half().float()), places_vectors(PARTS_OF_TWO.half()))
