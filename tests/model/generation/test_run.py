"""Filters of logits, the draw, and what guidance computes once for all."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from anyseek.model.generation.generate import generate
from anyseek.model.generation.run import DecoderPass, SamplingOptions, UnconditionalCache, filter_logits, sample
from anyseek.model.generation.schedule import Scheme
from anyseek.model.generation.state import ModalityState, sequence_input
from anyseek.model.network.transformer import FourM
from tests.model.generating import IDS, chain, plan

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


ALL = ["map", "states", "palette"]  # every input but the target


@pytest.fixture
def given_all(state: dict[str, ModalityState]) -> dict[str, ModalityState]:
    """Nothing is given that guidance does not hide."""
    return {**state, "palette": sequence_input([[7, 8], [9], [10, 11, 12]], IDS)}


def _other(state: dict[str, ModalityState]) -> dict[str, ModalityState]:
    return {**state, "palette": sequence_input([[17], [19, 20], [21]], IDS)}


def _seen(
    network: FourM,
    state: dict[str, ModalityState],
    kept: UnconditionalCache | None,
    conditions: Sequence[str] = ALL,
    **changes: Any,
) -> list[DecoderPass]:
    seen: list[DecoderPass] = []
    steps = chain([plan(**({"steps": 1, "guidance": 2.0} | changes))], [key for key in conditions if key in state])
    generate(network, state, steps, IDS, SamplingOptions(seed=0), seen.append, kept)
    return seen


def _decoded(network: FourM, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The shapes of positions that the network is asked for from here on."""
    shapes: list[tuple[int, int]] = []
    truly = network.decode_image_tokens_at

    def decode(context: Any, key: str, positions: Tensor) -> Tensor:
        shapes.append((positions.shape[0], positions.shape[1]))
        return truly(context, key, positions)

    monkeypatch.setattr(network, "decode_image_tokens_at", decode)
    return shapes


@pytest.mark.parametrize("scheme", [Scheme.ROAR, Scheme.MASKGIT])
def test_one_row_of_it_serves_all_rows_and_other_inputs(
    network: FourM, given_all: dict[str, ModalityState], monkeypatch: pytest.MonkeyPatch, scheme: Scheme
) -> None:
    shapes, kept = _decoded(network, monkeypatch), UnconditionalCache()
    first, again = (_seen(network, one, kept, scheme=scheme) for one in (given_all, _other(given_all)))
    assert shapes == [(3, 16), (1, 16), (3, 16)]  # conditional, unconditional, conditional
    torch.testing.assert_close(again[1].logits, first[1].logits, rtol=0, atol=0)
    assert not torch.allclose(again[0].logits, first[0].logits, atol=1e-2)


def test_it_is_what_the_pass_over_all_rows_gives(network: FourM, given_all: dict[str, ModalityState]) -> None:
    (_, unconditional) = _seen(network, given_all, None)
    with_one_more = {**given_all, "words": sequence_input([[3], [3], [3]], IDS)}  # no input of this network
    torch.testing.assert_close(_seen(network, with_one_more, None)[1].logits, unconditional.logits)
    sentinels = {**given_all, "palette": sequence_input([[IDS.sentinel(1)]] * 3, IDS)}
    sentinels = {key: sentinels[key] for key in ("palette", "tok_visual")}
    states_alone = {key: given_all[key] for key in ("palette", "tok_visual")}
    (_, without) = _seen(network, states_alone, None)
    plain = _seen(network, sentinels, None, guidance=1.0)
    torch.testing.assert_close(without.logits, plain[0].logits, atol=1e-5, rtol=0)


def test_what_is_not_the_same_for_all_is_computed_each_time(
    network: FourM, given_all: dict[str, ModalityState], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, kept = _decoded(network, monkeypatch), UnconditionalCache()
    for _ in range(2):
        _seen(network, given_all, kept, steps=2)  # places of ROAR's steps see each other alone
    assert shapes == [(3, 8)] * 8
    shapes.clear()
    for _ in range(2):
        _seen(network, given_all, kept, ["map"])  # the other inputs are seen by every pass
    assert shapes == [(3, 16)] * 4


def test_maskgit_keeps_the_first_pass_of_several(
    network: FourM, given_all: dict[str, ModalityState], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, kept = _decoded(network, monkeypatch), UnconditionalCache()
    for _ in range(2):
        _seen(network, given_all, kept, scheme=Scheme.MASKGIT, steps=2)
    assert shapes == [(3, 16), (1, 16), (3, 8), (3, 8), (3, 16), (3, 8), (3, 8)]


def test_kinds_of_inputs_are_told_apart(network: FourM, given_all: dict[str, ModalityState]) -> None:
    kept = UnconditionalCache()
    without = {key: entry for key, entry in given_all.items() if key != "palette"}
    for state in (given_all, without, given_all):
        alone = _seen(network, state, None)[1]
        torch.testing.assert_close(_seen(network, state, kept)[1].logits, alone.logits, rtol=0, atol=0)


def test_the_least_used_is_dropped_and_one_alone_is_kept() -> None:
    made: list[str] = []

    def logits(kept: UnconditionalCache, target: str) -> Tensor:
        return kept.logits(target, (), lambda: made.append(target) or torch.zeros(4, 4))

    kept = UnconditionalCache(max_bytes=2 * 64)
    for target in "abacab":
        logits(kept, target)
    assert made == ["a", "b", "c", "b"]
    small = UnconditionalCache(max_bytes=1)
    made.clear()
    for target in "aab":
        logits(small, target)
    assert made == ["a", "b"]


def test_threads_compute_it_once() -> None:
    made, kept = [], UnconditionalCache()

    def compute() -> Tensor:
        made.append(1)
        return torch.zeros(2, 2)

    threads = [threading.Thread(target=kept.logits, args=("a", (), compute)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
