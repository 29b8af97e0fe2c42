"""Samples of one batch get what each gets alone."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyseek.model.generation.generate import PrefixDecoder, generate, together
from anyseek.model.generation.run import GenerationInvalid, Options
from anyseek.model.generation.schedule import Scheme, TargetPlan, chain
from anyseek.model.generation.state import ModalityState, given_sequence, sequence_target, text_target
from anyseek.model.network.transformer import Context, FourM
from tests.model.generating import IDS, plan, rows

WORDS = [[7, 8, 9], [9], [10, 11]]
SAMPLING = st.fixed_dictionaries(
    {
        "scheme": st.sampled_from([Scheme.ROAR, Scheme.MASKGIT]),
        "steps": st.integers(1, 3),
        "temperature": st.sampled_from([0.0, 0.7, 3.0]),
        "guidance": st.sampled_from([1.0, 2.0, (1.5, -0.5)]),
    }
)


def _tokens(state: dict[str, ModalityState]) -> dict[str, list[list[int]]]:
    return {key: state[key].input_rows() for key in ("tok_visual", "palette")}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SAMPLING, st.integers(0, 99))
def test_each_sample_draws_what_it_draws_alone(
    network: FourM, state: dict[str, ModalityState], sampling: dict[str, Any], seed: int
) -> None:
    given_words = {**state, "palette": given_sequence(WORDS, IDS)}
    steps = chain([plan(**sampling)], ["map", "palette"])
    options = Options(top_p=0.9, seed=seed, samples=3)
    found = _tokens(generate(network, given_words, steps, IDS, options))
    for row in range(3):
        alone = generate(network, rows(given_words, row), steps, IDS, Options(top_p=0.9, seed=seed))
        assert _tokens(alone) == {key: [of_all[row]] for key, of_all in found.items()}


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_sequences_end_for_themselves_and_are_inputs_of_the_next(
    network: FourM, state: dict[str, ModalityState], guidance: float
) -> None:
    asked = {**state, "palette": sequence_target(3, 8, IDS)}
    plans = [
        TargetPlan("palette", Scheme.AUTOREGRESSIVE, temperature=2.0, guidance=guidance),
        plan(steps=2, temperature=1.0, guidance=guidance),
    ]
    steps = chain(plans, ["map", "states"])
    found = _tokens(generate(network, asked, steps, IDS, Options(seed=5, samples=3)))
    for row in range(3):
        alone = _tokens(generate(network, rows(asked, row), steps, IDS, Options(seed=5)))
        assert alone == {key: [of_all[row]] for key, of_all in found.items()}


def test_samples_may_have_several_rows(network: FourM, state: dict[str, ModalityState]) -> None:
    asked = rows(state, 0, 0, 1, 1)
    asked["palette"] = text_target([[7], [8], [7], [8]], 6, IDS)
    steps = chain([TargetPlan("palette", Scheme.AUTOREGRESSIVE, temperature=2.0)], [])
    found = _tokens(generate(network, asked, steps, IDS, Options(seed=1, samples=2)))["palette"]
    for place in (0, 2):
        alone = generate(network, rows(asked, place, place + 1), steps, IDS, Options(seed=1))
        assert _tokens(alone)["palette"] == found[place : place + 2]


def test_rows_that_are_not_as_many_for_each_sample_are_refused(network: FourM, state: dict[str, ModalityState]) -> None:
    with pytest.raises(GenerationInvalid, match="3 rows, which are not as many for each of 2 samples"):
        generate(network, state, chain([plan()], []), IDS, Options(samples=2))


@torch.inference_mode()
def test_contexts_of_different_lengths_are_decoded_together(network: FourM, small_inputs: dict[str, Any]) -> None:
    context = network.encode(small_inputs)
    short = Context(context.states[:, :4], None if context.mask is None else context.mask[:, :4])
    (joined,) = together([context, short])
    tokens = torch.tensor([7, 8, 9])
    found = PrefixDecoder(network, "palette", joined, 3).step(tokens.repeat(2)).chunk(2)
    for one, logits in zip((context, short), found, strict=True):
        torch.testing.assert_close(logits, PrefixDecoder(network, "palette", one, 3).step(tokens), atol=1e-5, rtol=0)


def test_an_empty_context_stays_apart(network: FourM) -> None:
    full, empty = (Context(torch.zeros(1, length, network.config.dim), None) for length in (3, 0))
    assert together([full, empty]) == [full, empty]
    assert together([empty]) == [empty]
