"""Span masking, its inverse, and sequences laid out within their budgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.layout import Budgets, Keep, lay_out
from anyseek.model.modalities.formats.spans import (
    PUBLISHED_IDS,
    FormatInvalid,
    MaskedSpans,
    SpecialIds,
    TextStates,
    mask_spans,
    mask_states,
    merge_spans,
)

IDS = SpecialIds(pad_id=0, end_id=1, sentinel_ids=(2, 3, 4, 5))
S1, S2, S3 = 3, 4, 5

words = st.integers(min_value=204, max_value=29_999)
chunked = st.lists(st.tuples(st.lists(words, min_size=1, max_size=3), st.booleans()), max_size=60)


@given(chunked)
def test_merging_gives_the_sequence_back(chunks: list[tuple[list[int], bool]]) -> None:
    sequence = [chunk for chunk, _ in chunks]
    spans = mask_spans(sequence, [drop for _, drop in chunks], PUBLISHED_IDS)
    assert merge_spans(spans.input, spans.target, PUBLISHED_IDS) == [token for chunk in sequence for token in chunk]


@given(chunked)
def test_kept_ids_are_in_the_input_and_dropped_ones_in_the_target(chunks: list[tuple[list[int], bool]]) -> None:
    spans = mask_spans([chunk for chunk, _ in chunks], [drop for _, drop in chunks], PUBLISHED_IDS)
    sentinels = set(PUBLISHED_IDS.sentinel_ids)
    for side, dropped in ((spans.input, False), (spans.target, True)):
        plain = [token for token in side if token not in sentinels]
        assert plain == [token for chunk, drop in chunks if drop is dropped for token in chunk]
    # the target names the input's sentinels in order, and one more
    marks = [token for token in spans.target if token in sentinels]
    assert [token for token in spans.input if token in sentinels] == marks[:-1]
    assert marks == list(PUBLISHED_IDS.sentinel_ids[1 : len(marks) + 1])


def test_a_run_is_one_sentinel_and_a_chunk_is_never_split() -> None:
    spans = mask_spans([(10, 11), (12, 13), (14, 15), (16,)], [False, True, True, False], IDS)
    assert spans == MaskedSpans((10, 11, S1, 16), (S1, 12, 13, 14, 15, S2))
    assert mask_spans([(10,)], [False], IDS) == MaskedSpans((10,), (S1,))


def test_too_many_runs_for_the_vocabulary_are_refused() -> None:
    with pytest.raises(FormatInvalid, match=r"\[S_4\]"):
        mask_spans([(10,)] * 6, [True, False] * 3, IDS)


@pytest.mark.parametrize(
    ("inputs", "predicted", "merged"),
    [
        ([10, S1, 11], [S1, 20, 21, S2], [10, 20, 21, 11]),
        ([10, S1, 11, S2], [S2, 20], [10, 11, 20]),  # what is not predicted vanishes
        ([S1, S2], [9, S1, 20, S1, 21, S2, 22], [20, 22]),  # a repeated sentinel counts once, a start without one never
        ([10], [S1, 20], [10]),
    ],
)
def test_merging_what_a_network_predicts(inputs: list[int], predicted: list[int], merged: list[int]) -> None:
    assert merge_spans(inputs, predicted, IDS) == merged


VECTORS = np.arange(12, dtype=np.float32).reshape(6, 2) + 1


def test_a_dropped_run_is_one_zero_vector() -> None:
    masked = mask_states(TextStates(VECTORS), [True, True, False, True, False, False])
    zero = np.zeros((1, 2), np.float32)
    np.testing.assert_array_equal(masked.vectors, np.concatenate([zero, VECTORS[2:3], zero, VECTORS[4:]]))
    np.testing.assert_array_equal(mask_states(TextStates(VECTORS), [False] * 6).vectors, VECTORS)


def test_too_many_states_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="77"):
        TextStates(np.zeros((78, 2), np.float32))


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
