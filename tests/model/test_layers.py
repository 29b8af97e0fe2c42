"""Attention's edge cases and the choice of layers by config."""

import pytest
import torch

from model.config import ConfigInvalid, FourMConfig
from model.layers import Attention, FeedForward, LayerNorm, activation, attend


def test_attention_equals_its_formula() -> None:
    query, key, value = (torch.randn(2, 3, n, 4, generator=torch.Generator().manual_seed(n)) for n in (5, 6, 6))
    blocked = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    blocked[..., 0] = False
    logits = (query @ key.mT) * 4**-0.5
    expected = logits.masked_fill(blocked, -torch.inf).softmax(dim=-1) @ value
    out = attend(query, key, value, blocked)
    torch.testing.assert_close(out, expected.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fully_blocked_query_attends_to_all_keys_alike(dtype: torch.dtype) -> None:
    query, key, value = torch.randn(3, 1, 2, 4, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
    out = attend(query, key, value, torch.ones(1, 1, 1, 4, dtype=torch.bool))
    expected = value.mean(dim=2, keepdim=True).expand_as(value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(out, expected, atol=1e-2 if dtype is torch.bfloat16 else 1e-6, rtol=0)


def test_attention_over_nothing_is_zero() -> None:
    query, nothing = torch.randn(2, 2, 3, 4), torch.zeros(2, 2, 0, 4)
    assert torch.equal(attend(query, nothing, nothing, None), torch.zeros(2, 3, 8))


def test_norm_bias_is_a_parameter_only_when_learned() -> None:
    assert "bias" in dict(LayerNorm(4, learned_bias=True).named_parameters())
    fixed = LayerNorm(4, learned_bias=False)
    assert "bias" not in dict(fixed.named_parameters())
    assert "bias" in fixed.state_dict()


def test_a_stored_norm_bias_is_applied_though_not_learned() -> None:
    norm = LayerNorm(4, learned_bias=False)
    norm.bias.fill_(3.0)
    assert norm(torch.randn(2, 4)).mean().item() == pytest.approx(3.0, abs=1e-5)


def test_gated_hidden_size(small_config: FourMConfig) -> None:
    assert FeedForward(small_config).fc1.weight.shape == (42, 16)  # int(2 * 64 / 3)


def test_unknown_activation_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="Linear"):
        activation("Linear")


def test_qk_norm_adds_norms_of_one_head() -> None:
    config = FourMConfig((), (), dim=16, num_heads=2, qk_norm=True)
    assert Attention(config).state_dict()["q_norm.weight"].shape == (8,)
