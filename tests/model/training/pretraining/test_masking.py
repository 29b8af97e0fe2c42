from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.layout import Budgets, Keep
from anyseek.model.modalities.formats.spans import PUBLISHED_IDS
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.training.pretraining.config import FieldKind, Mixture, TrainedModality, read_config
from anyseek.model.training.pretraining.masking import Masker, mask_grid, mask_text, mask_vectors, share_out
from anyseek.model.training.pretraining.plan import PlannedModality, make_plan


def _planned(
    key: str, kind: FieldKind, tokens: int, given: tuple[float, ...], wanted: tuple[float, ...]
) -> PlannedModality:
    keep = (Keep.RANDOM,) * max(len(given), len(wanted))
    settings = TrainedModality.model_construct(key=key, fields=(key,), kind=kind, input=given, target=wanted, keep=keep)
    row = ModalityConfig(key, EmbeddingKind.IMAGE_TOKENS, (1, tokens), vocabulary=9)
    return PlannedModality(settings, row, tokens)


def _mixture(weights: tuple[float, ...], inputs: tuple[int, int], targets: tuple[int, int]) -> Mixture:
    return Mixture.model_validate({"weights": weights, "input_tokens": list(inputs), "target_tokens": list(targets)})


IMAGE = _planned("image", FieldKind.TOKENS, 16, (1.0, 0.1), (0.5, 2.0))
TEXT = _planned("text", FieldKind.TEXT, 12, (0.5, 0.0), (0.5, 1.0))
PIXELS = _planned("pixels", FieldKind.PICTURE, 9, (1000.0, 0.1), ())


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.tuples(*[st.booleans()] * 3))
def test_budgets_are_never_exceeded_and_grids_never_overdrawn(
    inputs: int, targets: int, seed: int, available: tuple[bool, bool, bool]
) -> None:
    mixture = _mixture((1.0, 3.0), (1, inputs), (1, targets))
    draw = Masker((IMAGE, TEXT, PIXELS), mixture).draw(np.array(available), np.random.default_rng(seed))
    if draw is None:
        assert not any(available[:2])  # nothing that can be predicted is there
        return
    assert draw.input.sum() <= inputs
    assert draw.target.sum() <= targets
    assert (draw.input <= [16, 12, 9]).all()
    assert draw.target[0] <= 16 - draw.input[0]
    assert draw.target[1] <= 12
    assert draw.target[2] == 0
    assert not draw.input[~np.array(available)].any()
    assert not draw.target[~np.array(available)].any()


@given(
    st.integers(0, 300), st.lists(st.sampled_from([0.0, 0.01, 0.5, 10.0]), min_size=1, max_size=8), st.integers(0, 99)
)
def test_all_of_a_total_is_shared_out_among_those_that_take_part(
    total: int, concentrations: list[float], seed: int
) -> None:
    values = np.array(concentrations)
    if not values.any():
        return
    shares = share_out(total, values, np.random.default_rng(seed))
    assert shares.sum() == total
    assert (shares >= 0).all()
    assert not shares[values == 0].any()


def test_shares_are_those_of_the_concentrations() -> None:
    generator = np.random.default_rng(0)
    found = np.mean([share_out(100, np.array([1.0, 3.0, 0.0, 4.0]), generator) for _ in range(4000)], axis=0)
    # the remainder goes to the largest share of fresh draws, which favours large concentrations a little
    assert found == pytest.approx([12.5, 37.5, 0.0, 50.0], abs=1.0)


def test_small_concentrations_give_one_modality_nearly_everything() -> None:
    generator = np.random.default_rng(0)
    largest = np.mean([share_out(100, np.full(5, 0.01), generator).max() for _ in range(500)])
    even = np.mean([share_out(100, np.full(5, 1000.0), generator).max() for _ in range(500)])
    assert largest > 95
    assert even < 23


def test_components_are_drawn_by_their_weights() -> None:
    masker = Masker((IMAGE, TEXT, PIXELS), _mixture((1.0, 3.0), (9, 9), (9, 9)))
    generator = np.random.default_rng(0)
    draws = [masker.draw(np.array([True, True, True]), generator) for _ in range(2000)]
    first = np.mean([draw is not None and draw.input[2] >= 8 for draw in draws])  # pixels take nearly all of it there
    assert first == pytest.approx(0.25 + 0.75 * 0.45, abs=0.06)  # in the other, half of the time


def test_a_component_that_a_sample_cannot_serve_is_left_out() -> None:
    masker = Masker((IMAGE, TEXT), _mixture((1.0, 1.0), (8, 8), (8, 8)))
    for seed in range(50):
        draw = masker.draw(np.array([False, True]), np.random.default_rng(seed))
        assert draw is not None
        assert draw.input.tolist() == [0, 8]
    alone = Masker((IMAGE, TEXT), _mixture((0.0, 1.0), (8, 8), (8, 8)))
    assert alone.draw(np.array([False, True]), np.random.default_rng(0)) is None


@given(st.integers(1, 40), st.data(), st.integers(0, 2**32 - 1))
def test_a_grid_is_split_without_overlap(tokens: int, data: st.DataObject, seed: int) -> None:
    inputs = data.draw(st.integers(0, tokens))
    targets = data.draw(st.integers(0, tokens - inputs))
    input_mask, target_mask = mask_grid(tokens, inputs, targets, np.random.default_rng(seed))
    assert (~input_mask).sum() == inputs
    assert (~target_mask).sum() == targets
    assert (input_mask | target_mask).all()


def test_every_position_of_a_grid_is_input_and_target_as_often() -> None:
    generator = np.random.default_rng(0)
    masks = [mask_grid(16, 4, 8, generator) for _ in range(3000)]
    assert np.mean([~given for given, _ in masks], axis=0) == pytest.approx(np.full(16, 0.25), abs=0.04)
    assert np.mean([~wanted for _, wanted in masks], axis=0) == pytest.approx(np.full(16, 0.5), abs=0.04)


@given(
    st.lists(st.lists(st.integers(300, 400), min_size=1, max_size=3), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from(Keep),
    st.integers(0, 2**32 - 1),
)
def test_a_text_keeps_within_its_budgets(
    chunks: list[list[int]], inputs: int, targets: int, keep: Keep, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    given_ids, wanted_ids = mask_text([*chunks, [3]], Budgets(12, inputs, targets), keep, PUBLISHED_IDS, generator)
    assert len(given_ids) <= inputs
    assert len(wanted_ids) <= targets
    if len(wanted_ids):
        assert wanted_ids[0] in PUBLISHED_IDS.sentinel_ids


def test_every_word_of_a_text_is_input_and_target_at_times() -> None:
    generator = np.random.default_rng(0)
    chunks = [(300 + n,) for n in range(6)] + [(3,)]
    given_ids, wanted_ids = set(), set()
    for _ in range(200):
        inputs, targets = mask_text(chunks, Budgets(8, 8, 8), Keep.RANDOM, PUBLISHED_IDS, generator)
        given_ids |= set(inputs.tolist())
        wanted_ids |= set(targets.tolist())
    words = {number for chunk in chunks for number in chunk}
    assert words <= given_ids
    assert words <= wanted_ids


@given(st.integers(1, 20), st.integers(0, 20), st.sampled_from(Keep), st.integers(0, 2**32 - 1))
def test_vectors_keep_within_their_budget(rows: int, budget: int, keep: Keep, seed: int) -> None:
    states = np.arange(1, 2 * rows + 1, dtype=np.float32).reshape(rows, 2)
    kept = mask_vectors(states, budget, keep, np.random.default_rng(seed))
    assert len(kept) <= budget
    present = kept[kept.any(axis=1)]
    assert {tuple(row) for row in present.tolist()} <= {tuple(row) for row in states.tolist()}
    if keep is Keep.ALL and rows <= budget:
        np.testing.assert_array_equal(kept, states)


def test_the_published_mixture_of_rgb_alone_is_drawn(
    config: dict[str, Any], written: Callable[[dict[str, Any]], Path]
) -> None:
    config["masking"] = {"input_tokens": 128, "target_tokens": 128}
    config["modalities"] = {
        "rgb@224": {"field": "rgb", "kind": "picture", "input": 1000},
        "tok_rgb@224": {"field": "tok_rgb", "kind": "tokens", "input": 0, "target": 0.5},
        "tok_clip@224": {"field": "tok_rgb", "kind": "tokens", "input": 0, "target": 0.5},
    }
    config["evaluation"]["recall"] = []
    read = read_config(written(config))
    plan = make_plan(read, None, {})
    draw = Masker(plan.modalities, read.mixture).draw(np.full(3, True), np.random.default_rng(0))
    assert draw is not None
    assert draw.input.tolist() == [128, 0, 0]
    assert draw.target.sum() == 128


def test_without_need_of_a_target_every_input_is_of_use() -> None:
    modalities = [_planned("a", FieldKind.TOKENS, 9, (1.0,), ()), _planned("b", FieldKind.TEXT, 9, (), (1.0,))]
    available, generator = np.array([True, False]), np.random.default_rng(0)
    mixture = _mixture((1.0,), (4, 4), (4, 4))
    assert Masker(modalities, mixture).draw(available, generator) is None
    draw = Masker(modalities, mixture, needs_target=False).draw(available, generator)
    assert draw is not None
    assert draw.input.tolist() == [4, 0]
    assert not draw.target.any()
