"""Selection of tokens and the decoder's self mask."""

import torch

from anyseek.model.network.tokens import TargetPart, image_reach, select_inputs, select_targets


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


def test_tokens_that_are_all_used_come_as_they_are() -> None:
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


def test_image_reach_stands_at_the_first_target() -> None:
    mask = torch.tensor([[True, False, True, False], [True, True, True, True]])
    assert image_reach(mask).tolist() == [[0, 2, 0, 0], [0, 0, 0, 0]]


def test_images_see_themselves_sequences_their_past_and_nothing_sees_another() -> None:
    image, sequence = _part(1, [False, False], [2, 0]), _part(2, [False, False], [1, 1])
    tokens = select_targets([image, sequence], None, causal=False, separate=True)
    seen = (~tokens.self_blocked[0]).int().tolist()
    assert seen == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


def test_without_separation_later_tokens_see_earlier_modalities() -> None:
    image, sequence = _part(1, [False, False], [2, 0]), _part(2, [False, False], [1, 1])
    tokens = select_targets([image, sequence], None, causal=False, separate=False)
    seen = (~tokens.self_blocked[0]).int().tolist()
    assert seen == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_causal_replaces_both() -> None:
    tokens = select_targets([_part(1, [False] * 3, [3, 0, 0])], None, causal=True, separate=True)
    assert (~tokens.self_blocked[0]).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_unused_targets_have_no_id_and_no_modality() -> None:
    tokens = select_targets([_part(1, [True, False], [0, 1])], 2, causal=False, separate=True)
    assert tokens.target_ids.tolist() == [[11, 0]]
    assert tokens.modality.tolist() == [[1, -1]]
