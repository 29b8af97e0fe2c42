"""Use of codes: the share that was chosen, and how evenly."""

import math

import pytest
import torch

from model.training.tokenizing.usage import CodeCounts


def test_use_of_one_codebook() -> None:
    counts = CodeCounts(1, 4)
    counts.add(torch.tensor([[[0, 0], [1, 1]]]))
    assert counts.used() == 0.5
    assert counts.perplexity() == pytest.approx(2.0)
    counts.add(torch.tensor([[[0, 0], [0, 0]]]))  # now 6 to 2
    assert counts.perplexity() == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_use_of_several_codebooks_is_the_mean_of_each() -> None:
    counts = CodeCounts(2, 4)
    counts.add(torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]]))
    assert counts.used() == (0.25 + 1.0) / 2
    assert counts.perplexity() == pytest.approx((1 + 4) / 2)
    assert CodeCounts(2, 4).used() == 0.0
