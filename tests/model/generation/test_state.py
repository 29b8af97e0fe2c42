"""Given modalities and empty targets."""

import torch

from anyseek.model.generation.state import (
    empty_input,
    empty_target,
    image_target,
    input_state,
    sequence_input,
    sequence_target,
    text_target,
)
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.config import PUBLISHED_MODALITIES, EmbeddingKind

IDS = SpecialIds(pad_id=0, end_id=1, sentinel_ids=(2, 3, 4, 5))
S1, S2 = 3, 4


def test_given_sequences_are_padded_and_used_in_full() -> None:
    state = sequence_input([[7, 1, 8, 1], [9], []], IDS)
    assert state.values.tolist() == [[7, 1, 8, 1], [9, 0, 0, 0], [0, 0, 0, 0]]
    assert state.input_rows() == [[7, 1, 8, 1], [9], []]
    assert state.target_rows() == [[], [], []]
    assert sequence_input([[]], IDS).values.shape == (1, 1)


def test_empty_targets() -> None:
    image = image_target(2, 3)
    assert image.values.tolist() == [[0] * 3] * 2
    assert image.target_rows() == [[0] * 3] * 2
    sequence = sequence_target(2, 5, IDS)
    assert sequence.values.tolist() == [[S1, S1, 0, 0, S2]] * 2
    assert sequence.input_rows() == [[S1]] * 2
    assert sequence.target_rows() == [[S1, 0, 0, S2]] * 2


def test_an_empty_target_is_as_long_as_its_row_lets_it_be() -> None:
    assert empty_target(PUBLISHED_MODALITIES["tok_rgb@224"], IDS).target_mask.shape == (1, 196)
    assert empty_target(PUBLISHED_MODALITIES["caption"], IDS).target_rows()[0][0] == S1
    assert empty_target(PUBLISHED_MODALITIES["caption"], IDS).values.shape == (1, 257)


def test_texts_of_different_length_have_their_targets_after_them() -> None:
    state = text_target([[7, 8, S1], [9, S1]], 3, IDS)
    assert state.values.tolist() == [[7, 8, S1, S1, 0, 1], [9, S1, S1, 0, 1, 0]]
    assert state.input_rows() == [[7, 8, S1], [9, S1]]
    assert state.target_rows() == [[S1, 0, 1]] * 2


def test_written_tokens_become_inputs() -> None:
    written = image_target(2, 3).with_tokens(torch.tensor([[2], [0]]), torch.tensor([[8], [9]]))
    assert written.values.tolist() == [[0, 0, 8], [9, 0, 0]]
    assert written.input_rows() == [[8], [9]]
    assert written.target_rows() == [[0, 0], [0, 0]]


def test_what_is_left_of_a_condition_taken_away() -> None:
    words = empty_input(sequence_input([[7, 8], [9]], IDS), EmbeddingKind.SEQUENCE, IDS)
    assert [row[~mask].tolist() for row, mask in zip(words.values, words.mask, strict=True)] == [[S1], [S1]]
    vectors = input_state(torch.randn(1, 3, 4), torch.zeros(1, 3, dtype=torch.bool))
    states = empty_input(vectors, EmbeddingKind.SEQUENCE_EMBEDDING, IDS)
    assert states.mask.tolist() == [[False, True, True]]
    assert not states.values[0, 0].any()
    image = input_state(torch.ones(1, 3, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.bool))
    assert empty_input(image, EmbeddingKind.IMAGE_TOKENS, IDS).mask.all()
