"""Filters of logits and the draw."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from anyseek.model.generation.run import SamplingInvalid, filter_logits, sample

LOGITS = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]]))


def _kept(logits: Tensor) -> list[bool]:
    return logits.isfinite()[0].tolist()


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 0.0, [True, True, True, True]),
        (2, 0.0, [False, True, False, True]),
        (0.25, 0.0, [False, True, False, False]),
        (0.1, 0.0, [False, True, False, False]),  # never fewer than one
        (9, 0.0, [True, True, True, True]),
        (0, 0.39, [False, True, False, False]),
        (0, 0.41, [False, True, False, True]),  # the first that exceeds is kept
        (0, 1.0, [True, True, True, True]),
        (2, 0.6, [False, True, False, True]),  # of the two that top-k keeps, the first has 0.57
        (2, 0.5, [False, True, False, False]),
    ],
)
def test_filters(top_k: int | float, top_p: float, kept: list[bool]) -> None:
    assert _kept(filter_logits(LOGITS, top_k, top_p)) == kept


@given(st.integers(0, 2**31), st.integers(0, 24), st.floats(0, 1))
def test_filters_keep_the_best_and_change_nothing_else(seed: int, top_k: int, top_p: float) -> None:
    logits = torch.randn(3, 24, generator=torch.Generator().manual_seed(seed))
    filtered = filter_logits(logits, top_k, top_p)
    kept = filtered.isfinite()
    assert kept.gather(1, logits.argmax(dim=1, keepdim=True)).all()
    assert torch.equal(filtered[kept], logits[kept])
    assert logits.masked_fill(~kept, torch.inf).amin() >= logits.masked_fill(kept, -torch.inf).amax(dim=1).amin()


def test_the_nucleus_is_that_of_temperature_one() -> None:
    tokens, probabilities = sample(LOGITS.expand(400, 4), 100.0, 0, 0.6, torch.Generator().manual_seed(0))
    assert set(tokens.tolist()) == {1, 3}
    assert probabilities.sub(0.5).abs().max() < 0.01


def test_temperature_zero_takes_the_likeliest() -> None:
    tokens, probabilities = sample(LOGITS.bfloat16().reshape(1, 1, 4), 0.0, 0, 0.3, torch.Generator())
    assert tokens.tolist() == [[1]]
    assert probabilities.item() == pytest.approx(0.4, abs=1e-2)


def test_draws_follow_the_probabilities() -> None:
    tokens, _ = sample(LOGITS.expand(20_000, 4), 1.0, 0, 0.0, torch.Generator().manual_seed(0))
    shares = tokens.bincount(minlength=4) / len(tokens)
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.4, 0.2, 0.3]), atol=0.02, rtol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(-1, 0.0), (1.5, 0.0), (0, -0.1), (0, 1.1)])
def test_filters_out_of_range_are_refused(top_k: int | float, top_p: float) -> None:
    with pytest.raises(SamplingInvalid):
        filter_logits(LOGITS, top_k, top_p)


def test_a_negative_temperature_is_refused() -> None:
    with pytest.raises(SamplingInvalid, match="-1"):
        sample(LOGITS, -1.0, 0, 0.0, torch.Generator())
