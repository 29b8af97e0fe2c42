"""Sequences laid out within their budgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.layout import Budgets, Keep, lay_out
from anyseek.model.modalities.formats.spans import PUBLISHED_IDS, FormatInvalid, merge_spans

CHUNKS = [(300,), (301, 302), (303,), (304,), (3,)]


@given(
    st.integers(0, 30), st.integers(0, 13), st.integers(0, 13), st.floats(0, 1), st.integers(0, 2**32), st.booleans()
)
def test_budgets_are_kept(count: int, inputs: int, targets: int, keep: float, seed: int, pairs: bool) -> None:
    chunks = [(300 + n, 400 + n) if pairs else (300 + n,) for n in range(count)]
    layout = lay_out(chunks, Budgets(12, inputs, targets), keep, PUBLISHED_IDS, np.random.default_rng(seed))
    assert layout.ids.shape == layout.input_mask.shape == layout.target_mask.shape == (26,)
    used_inputs, used_targets = layout.ids[~layout.input_mask], layout.ids[~layout.target_mask]
    assert len(used_inputs) <= inputs
    assert len(used_targets) <= targets
    assert not (~layout.input_mask & ~layout.target_mask).any()
    assert (layout.ids[layout.input_mask & layout.target_mask] == PUBLISHED_IDS.pad_id).all()
    if len(used_targets):
        assert used_targets[0] in PUBLISHED_IDS.sentinel_ids


@given(st.floats(0, 1), st.integers(0, 2**32))
def test_with_room_enough_nothing_is_lost(keep: float, seed: int) -> None:
    layout = lay_out(CHUNKS, Budgets(12, 13, 13), keep, PUBLISHED_IDS, np.random.default_rng(seed))
    inputs, targets = layout.ids[~layout.input_mask].tolist(), layout.ids[~layout.target_mask].tolist()
    assert merge_spans(inputs, targets, PUBLISHED_IDS) == [300, 301, 302, 303, 304, 3]


def test_chunks_beyond_the_longest_are_left_out_whole() -> None:
    layout = lay_out(CHUNKS, Budgets(2, 3, 3), 1.0, PUBLISHED_IDS, np.random.default_rng(0))
    assert layout.ids[~layout.input_mask].tolist() == [300]


def test_budgets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="6 entries"):
        lay_out(CHUNKS, Budgets(2, 4, 3), 1.0, PUBLISHED_IDS, np.random.default_rng(0))


def test_how_keep_probabilities_are_drawn() -> None:
    random = np.random.default_rng(0)
    assert {Keep.ALL.draw(random) for _ in range(20)} == {1.0}
    assert {Keep.BINARY.draw(random) for _ in range(50)} == {0.0, 1.0}
    drawn = [Keep.RANDOM.draw(random) for _ in range(200)]
    assert 0.4 < np.mean(drawn) < 0.6
    assert len(set(drawn)) == 200
