"""Token selection, the decoder's self-attention mask, and the token budget of images."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import (
    ModalityInput,
    TargetPart,
    dither_mask,
    image_reach,
    limit_grid_tokens,
    select_inputs,
    select_targets,
)


def _part(identifier: int, mask: list[bool], reach: list[int]) -> TargetPart:
    n = len(mask)
    values = torch.full((1, n, 2), float(identifier))
    ids = torch.arange(10, 10 + n)[None]
    return TargetPart(identifier, values, values, torch.tensor([mask]), ids, torch.tensor([reach]))


def test_used_tokens_come_first_in_their_order_and_the_rest_is_zero() -> None:
    content = torch.arange(1.0, 7.0).reshape(2, 3, 1)
    mask = torch.tensor([[True, False, True], [True, False, False]])
    tokens = select_inputs([(7, content, content, mask)], limit=None)
    assert tokens.content[..., 0].tolist() == [[2, 0], [5, 6]]
    assert tokens.mask.tolist() == [[False, True], [False, False]]
    assert tokens.modality.tolist() == [[7, -1], [7, 7]]


def test_tokens_are_unchanged_if_all_are_used() -> None:
    first, second = torch.ones(2, 3, 1), torch.full((2, 2, 1), 2.0)
    used = [torch.zeros(2, n, dtype=torch.bool) for n in (3, 2)]
    tokens = select_inputs([(7, first, -first, used[0]), (8, second, -second, used[1])], limit=5)
    assert tokens.content[..., 0].tolist() == [[1, 1, 1, 2, 2]] * 2
    assert torch.equal(tokens.embedding, -tokens.content)
    assert tokens.modality.tolist() == [[7, 7, 7, 8, 8]] * 2
    assert not tokens.mask.any()


def test_limit_cuts_later_tokens() -> None:
    content = torch.ones(1, 4, 1)
    tokens = select_inputs([(7, content, content, torch.zeros(1, 4, dtype=torch.bool))], limit=3)
    assert tokens.content.shape == (1, 3, 1)


def test_image_reach_is_at_the_first_target() -> None:
    mask = torch.tensor([[True, False, True, False], [True, True, True, True]])
    assert image_reach(mask).tolist() == [[0, 2, 0, 0], [0, 0, 0, 0]]


def test_images_see_themselves_sequences_their_past_and_nothing_sees_another() -> None:
    image, sequence = _part(1, [False, False], [2, 0]), _part(2, [False, False], [1, 1])
    tokens = select_targets([image, sequence], None, causal=False, separate=True)
    visible = (~tokens.self_blocked[0]).int().tolist()
    assert visible == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


def test_without_separation_later_tokens_see_earlier_modalities() -> None:
    image, sequence = _part(1, [False, False], [2, 0]), _part(2, [False, False], [1, 1])
    tokens = select_targets([image, sequence], None, causal=False, separate=False)
    visible = (~tokens.self_blocked[0]).int().tolist()
    assert visible == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_causal_replaces_both() -> None:
    tokens = select_targets([_part(1, [False] * 3, [3, 0, 0])], None, causal=True, separate=True)
    assert (~tokens.self_blocked[0]).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_unused_targets_have_no_id_and_no_modality() -> None:
    tokens = select_targets([_part(1, [True, False], [0, 1])], 2, causal=False, separate=True)
    assert tokens.target_ids.tolist() == [[11, 0]]
    assert tokens.modality.tolist() == [[1, -1]]


def test_half_of_a_grid_is_a_chessboard_and_a_quarter_every_other_row_and_column() -> None:
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    assert torch.equal(dither_mask((14, 14), 98).view(14, 14), (rows + columns) % 2 == 0)
    assert torch.equal(dither_mask((14, 14), 49).view(14, 14), (rows % 2 == 0) & (columns % 2 == 0))


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_larger_count_keeps_all_positions_of_a_smaller_one(rows: int, columns: int, data: st.DataObject) -> None:
    more = data.draw(st.integers(1, rows * columns))
    fewer = data.draw(st.integers(1, more))
    assert int(dither_mask((rows, columns), more).sum()) == more
    assert not (dither_mask((rows, columns), fewer) & ~dither_mask((rows, columns), more)).any()


def test_a_budget_limits_images_and_not_sequences(small_config: FourMConfig) -> None:
    image = ModalityInput(torch.randn(2, 8, 3, 3), torch.zeros(2, 9, dtype=torch.bool))
    states = ModalityInput(torch.randn(2, 12, 6), torch.zeros(2, 12, dtype=torch.bool))
    limited = limit_grid_tokens({"map": image, "states": states}, small_config, 5)
    assert (~limited["map"].mask).sum(dim=1).tolist() == [5, 5]
    assert limited["map"].mask.tolist()[0] == (~dither_mask((3, 3), 5)).tolist()
    assert limited["map"].values is image.values
    assert limited["states"] is states


def test_a_budget_keeps_masked_tokens_masked(small_config: FourMConfig) -> None:
    given_mask = torch.ones(1, 9, dtype=torch.bool)
    limited = limit_grid_tokens({"map": ModalityInput(torch.randn(1, 8, 3, 3), given_mask)}, small_config, 5)
    assert limited["map"].mask.all()
