"""Span masking and its inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
