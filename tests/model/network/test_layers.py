"""Attention's edge cases and the choice of layers by config."""

import pytest
import torch

from anyseek.model.network.config import ConfigInvalid, FourMConfig
from anyseek.model.network.layers import (
    Attention,
    CrossAttention,
    FeedForward,
    activation,
    attend,
    is_folding_faster,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fully_blocked_query_attends_to_all_keys_equally(dtype: torch.dtype) -> None:
    query, key, value = torch.randn(3, 1, 2, 4, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
    out = attend(query, key, value, torch.ones(1, 1, 1, 4, dtype=torch.bool))
    expected = value.mean(dim=2, keepdim=True).expand_as(value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(out, expected, atol=1e-2 if dtype is torch.bfloat16 else 1e-6, rtol=0)


def test_attention_that_is_trained_in_bfloat16_is_the_same() -> None:
    shape, generator = (3, 2, 4, 6, 8), torch.Generator().manual_seed(0)
    query, key, value = torch.randn(shape, dtype=torch.bfloat16, generator=generator)
    blocked = torch.rand(2, 1, 6, 6, generator=generator) < 0.4
    trained = query.clone().requires_grad_()
    exact = query.float().requires_grad_()
    attended, expected = attend(trained, key, value, blocked), attend(exact, key.float(), value.float(), blocked)
    torch.testing.assert_close(attended.float(), expected, atol=0.03, rtol=0.03)
    attended.float().square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(trained.grad.float(), exact.grad, atol=0.05, rtol=0.05)
    empty = torch.zeros(2, 4, 0, 8, dtype=torch.bfloat16)
    assert not attend(trained, empty, empty, None).any()


def test_attention_without_keys_is_zero() -> None:
    query, empty = torch.randn(2, 2, 3, 4), torch.zeros(2, 2, 0, 4)
    assert torch.equal(attend(query, empty, empty, None), torch.zeros(2, 3, 8))


def _cross_attention(**changes: object) -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(FourMConfig((), (), dim=24, num_heads=3, **changes))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@torch.inference_mode()
def test_folded_cross_attention_equals_the_projected_one(bias: bool, masked: bool) -> None:
    attention = _cross_attention(qkv_bias=bias)
    x, context = torch.randn(2, 4, 24), torch.randn(2, 9, 24)
    blocked = torch.zeros(2, 1, 1, 9, dtype=torch.bool)
    blocked[0, ..., 5:] = True
    blocked[1] = True  # every key blocked: equal attention to all
    mask = blocked if masked else None
    expected = attention.attend_projected(x, context, mask)
    torch.testing.assert_close(attention.attend_folded(x, context, mask), expected, atol=1e-6, rtol=1e-5)


def test_folded_cross_attention_has_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for folded in (True, False):
        monkeypatch.setattr("anyseek.model.network.layers.is_folding_faster", lambda *_, folded=folded: folded)
        attention = _cross_attention()
        x, context = torch.randn(2, 4, 24, requires_grad=True), torch.randn(2, 9, 24, requires_grad=True)
        attention(x, context, None).square().sum().backward()
        gradients.append((x.grad, context.grad, attention.kv.weight.grad, attention.q.weight.grad))
    for folded, projected in zip(*gradients, strict=True):
        torch.testing.assert_close(folded, projected, atol=1e-5, rtol=1e-4)


def test_folding_is_faster_for_few_queries_of_a_long_context() -> None:
    sizes = [(queries, keys) for queries in (16, 37, 38, 196) for keys in (0, 8, 196)]
    assert [size for size in sizes if is_folding_faster(*size, 768, 12)] == [(16, 196), (37, 196)]


@torch.inference_mode()
def test_the_cheaper_method_is_used_and_never_folding_with_qk_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("attend_folded", "attend_projected"):
        monkeypatch.setattr(CrossAttention, name, lambda self, x, context, blocked, name=name: calls.append(name))
    short, long = torch.randn(1, 2, 24), torch.randn(1, 40, 24)
    _cross_attention()(short, long, None)
    _cross_attention()(long, short, None)
    _cross_attention()(short, long[:, :0], None)
    _cross_attention(qk_norm=True)(short, long, None)
    assert calls == ["attend_folded", "attend_projected", "attend_projected", "attend_projected"]


def test_a_gated_feed_forward_follows_its_formula_with_and_without_gradients(small_config: FourMConfig) -> None:
    torch.manual_seed(0)
    layer, x = FeedForward(small_config), torch.randn(2, 3, 16)
    expected = layer.fc2(torch.nn.functional.silu(layer.fc1(x)) * layer.fc3(x))
    torch.testing.assert_close(layer(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected.detach())


def test_unknown_activation_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="Linear"):
        activation("Linear")


def test_qk_norm_adds_norms_of_one_head() -> None:
    config = FourMConfig((), (), dim=16, num_heads=2, qk_norm=True)
    assert Attention(config).state_dict()["q_norm.weight"].shape == (8,)
