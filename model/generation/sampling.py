"""Turn logits into tokens: apply top-k, then top-p, then the temperature, then draw once.

Both filters use the logits before the temperature divides them, so the nucleus of top-p is that of temperature 1.
"""

import torch
from torch import Tensor

from anyseek.model.errors import RequestInvalid

_GREEDY = 1e-10  # temperatures below this take the likeliest token


class SamplingInvalid(RequestInvalid):
    """A filter outside its range."""

    code = "sampling-invalid"


def filter_logits(logits: Tensor, top_k: int | float, top_p: float) -> Tensor:
    """Set the logits (..., V) that may not be drawn to minus infinity.

    `top_k` keeps that many of the largest, or that fraction of V if it is a float; 0 keeps all. `top_p` keeps the
    largest, up to and including the first at which the sum of their probabilities exceeds it; 0 keeps all.
    Raises `SamplingInvalid`.
    """
    count = top_k_count(top_k, logits.shape[-1])
    if not 0 <= top_p <= 1:
        raise SamplingInvalid(f"top_p is a probability from 0 to 1, not {top_p}")
    if count:
        least = logits.topk(count, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p:
        ordered, order = logits.sort(dim=-1, descending=True)
        exceeded = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
        # the first that exceeds is kept: shift by one
        dropped = exceeded.roll(1, dims=-1)
        dropped[..., 0] = False
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return logits


def top_k_count(top_k: int | float, vocabulary: int) -> int:
    """How many of `vocabulary` logits top-k keeps, 0 for all. Raises `SamplingInvalid`."""
    if top_k < 0 or (isinstance(top_k, float) and top_k > 1):
        raise SamplingInvalid(f"top_k is a count from 0 or a fraction from 0.0 to 1.0, not {top_k}")
    count = max(int(top_k * vocabulary), 1) if isinstance(top_k, float) and top_k > 0 else int(top_k)
    return min(count, vocabulary)


def sample(
    logits: Tensor, temperature: float, top_k: int | float, top_p: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One token for each row of logits (..., V), and the probability it was drawn with: int64 and float32 (...).

    At temperature 0 the token is the likeliest one and its probability that of temperature 1. Raises `SamplingInvalid`.
    """
    if not temperature >= 0:
        raise SamplingInvalid(f"a temperature is 0 or more, not {temperature}")
    logits = logits.float()
    if temperature < _GREEDY:
        probabilities = logits.softmax(dim=-1)
        tokens = logits.argmax(dim=-1, keepdim=True)
    else:
        probabilities = (filter_logits(logits, top_k, top_p) / temperature).softmax(dim=-1)
        # (..., V) -> (rows, V) -> (rows, 1): torch draws from matrices only
        drawn = probabilities.flatten(0, -2).multinomial(1, generator=random)
        tokens = drawn.view(*logits.shape[:-1], 1)
    return tokens.squeeze(-1), probabilities.gather(-1, tokens).squeeze(-1)
