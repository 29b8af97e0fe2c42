"""Captions of a known kind are centred on its mean; a photo of it has the words that a network tells."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.encoders.efficientnet import CHANNELS, FINE_CHANNELS, PARTS, parts_of
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.towers.space import (
    CAPTION,
    LEARNED,
    PHOTO,
    SHARES,
    WHOLE,
    WORDS,
    Shape,
    TowerInput,
    Towers,
    Weights,
    places_vectors,
    whole_vectors,
)

SMALL = {"looks": 8, "seen": 8, "hidden": 8, "learned": 8}
WEIGHTS = {"rgb": Weights(1.0, 1.0, 0.0, 1.0), "caption": Weights(words=1.0, learned=1.0)}


@pytest.fixture
def alike() -> Towers:
    """Towers that know captions around the first axis."""
    torch.manual_seed(0)
    towers = Towers(Shape(**SMALL), WEIGHTS, {CAPTION: 1}, {})
    axis = torch.zeros(1, WIDTH)
    axis[0, 0] = 0.7
    towers.get_buffer(f"{WORDS}_of_{CAPTION}").copy_(axis)
    towers.get_buffer(f"{LEARNED}_of_{CAPTION}").copy_(towers.caption(F.normalize(axis, dim=1)).detach())
    return towers.eval()


def caption(along: float) -> torch.Tensor:
    """A unit vector whose cosine with the first axis is `along`."""
    vector = torch.zeros(1, WIDTH)
    vector[0, 0], vector[0, 1] = along, (1 - along**2) ** 0.5
    return vector


def test_captions_maps_and_pictures_count_beside_each_other_as_they_were_chosen_to() -> None:
    maps = {name: {CAPTION: 0.15} for name in ("depth", "normal", "semseg")}
    assert {**maps, CAPTION: {"rgb": 0.4, "": 0.4}} == SHARES


@torch.no_grad()
def test_a_caption_near_a_known_mean_is_centred_on_it(alike: Towers) -> None:
    words = alike.caption_blocks(caption(0.7))[WORDS]
    assert words[0, 0] == pytest.approx(0.0, abs=1e-4)
    assert words[0, 1] == pytest.approx(1.0, abs=1e-4)


@torch.no_grad()
def test_a_caption_of_another_kind_stays_what_it_is(alike: Towers) -> None:
    assert torch.allclose(alike.caption_blocks(caption(0.45))[WORDS], caption(0.45), atol=1e-6)


@torch.no_grad()
def test_between_the_two_a_part_of_the_mean_is_taken_off(alike: Towers) -> None:
    partly = alike.caption_blocks(caption(0.58))[WORDS][0, 0]
    assert 0.05 < float(partly) < 0.58


@torch.no_grad()
def test_what_a_network_tells_counts_for_pictures_of_a_known_kind() -> None:
    """Of two pictures, each told by an axis of its own, the first looks like the kind."""
    torch.manual_seed(0)
    told = torch.zeros(CHANNELS, WIDTH)
    told[0, 5] = told[1, 6] = 1.0
    shape = Shape(**SMALL, told=2, telling=5.0)
    towers = Towers(shape, WEIGHTS, {PHOTO: 1}, {}, lambda own: own @ told).eval()
    pooled = torch.full((2, CHANNELS), 1e-3)
    pooled[0, 0] = pooled[1, 1] = 1.0
    towers.whole.axes[:2, :2] = torch.eye(2)
    towers.get_buffer(f"{WHOLE}_of_{PHOTO}")[0, 0] = 1.0
    words = torch.zeros(2, WIDTH)
    words[:, 9] = 1.0
    rows = towers.photo_blocks(TowerInput(pooled, pooled, torch.zeros(2, FINE_CHANNELS, PARTS, PARTS), words))[WORDS]
    assert rows[0].argmax() == 5
    assert rows[1].argmax() == 9
    assert rows[1, 6] == 0


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
