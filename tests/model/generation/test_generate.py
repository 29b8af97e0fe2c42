"""Generation with a small network: seeds, batches, chains of targets, guidance, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyseek.model.errors import UnsupportedModality
from anyseek.model.generation.generate import PrefixDecoder, generate, merge_contexts
from anyseek.model.generation.run import DecoderPass, SamplingOptions
from anyseek.model.generation.schedule import Guidance, Scheme, Step, TargetPlan, combine
from anyseek.model.generation.state import ModalityState, sequence_input, sequence_target, text_target
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import Context, FourM
from tests.model.generating import IDS, S1, chain, plan, rows

Make = Callable[..., FourM]


def count_encodings(network: FourM) -> list[Tensor]:
    calls: list[Tensor] = []
    network.encoder_norm.register_forward_hook(lambda _module, _inputs, output: calls.append(output))
    return calls


def test_rows_do_not_depend_on_their_batch(network: FourM, state: dict[str, ModalityState]) -> None:
    plans = [plan(), plan(Scheme.MASKGIT, "tok_semantic", guidance=1.5), TargetPlan("palette", Scheme.AUTOREGRESSIVE)]
    steps = chain(plans, ["map"])
    merge_contexts = generate(network, state, steps, IDS, SamplingOptions(seed=0))
    for row in range(3):
        alone = generate(network, rows(state, row), steps, IDS, SamplingOptions(seed=0))
        assert torch.equal(alone["tok_visual"].values[0], merge_contexts["tok_visual"].values[row])
        assert torch.equal(alone["tok_semantic"].values[0], merge_contexts["tok_semantic"].values[row])
        assert alone["palette"].input_rows()[0] == merge_contexts["palette"].input_rows()[row]


def test_seeds_make_a_run_repeatable(network: FourM, state: dict[str, ModalityState]) -> None:
    steps = chain([plan(temperature=2.0), TargetPlan("palette", Scheme.AUTOREGRESSIVE, temperature=2.0)], [])

    def run(seed: int | None) -> list[list[int]]:
        out = generate(network, state, steps, IDS, SamplingOptions(seed=seed))
        return out["tok_visual"].input_rows() + out["palette"].input_rows()

    torch.manual_seed(0)
    first = run(7)
    torch.manual_seed(1)
    assert run(7) == first
    assert run(8) != first
    assert run(None) != run(None)


def test_the_encoder_runs_only_when_its_input_changed(network: FourM, state: dict[str, ModalityState]) -> None:
    calls = count_encodings(network)
    generate(network, state, chain([plan(target="tok_semantic")], []), IDS)
    assert len(calls) == 1  # the network takes no tok_semantic
    calls.clear()
    generate(network, state, chain([plan()], []), IDS)
    assert len(calls) == 4
    calls.clear()
    plans = [TargetPlan("palette", Scheme.AUTOREGRESSIVE, guidance=2.0), plan(target="tok_semantic", guidance=2.0)]
    generate(network, state, chain(plans, ["map"]), IDS)
    assert len(calls) == 4  # both passes, before and after the palette is there


def test_finished_targets_are_inputs_of_later_ones(network: FourM, state: dict[str, ModalityState]) -> None:
    seen: list[DecoderPass] = []
    steps = chain([plan(), plan(target="tok_semantic", steps=1)], [])
    out = generate(network, state, steps, IDS, observe=seen.append)
    inputs = {key: ModalityInput(e.values, e.input_mask) for key, e in out.items() if key in network.config.domains_in}
    with torch.inference_mode():
        expected = network.decode_global(network.encode(inputs), ["tok_semantic"])["tok_semantic"]
    logits = torch.zeros_like(expected).scatter(1, seen[-1].positions[..., None].expand(-1, -1, 20), seen[-1].logits)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_a_state_goes_on_into_another_network(
    network: FourM, make_fourm: Make, state: dict[str, ModalityState]
) -> None:
    larger = make_fourm(domains_in=["tok_visual"], domains_out=["tok_semantic"])
    small = generate(network, state, chain([plan()], []), IDS)
    out = generate(larger, small, chain([plan(Scheme.MASKGIT, "tok_semantic", guidance=2.0)], ["tok_visual"]), IDS)
    assert not out["tok_semantic"].input_mask.any()
    assert torch.equal(out["tok_visual"].values, small["tok_visual"].values)


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (plan(target="palette", tokens=7, steps=1), "palette"),
        (TargetPlan("tok_visual", Scheme.AUTOREGRESSIVE), "tok_visual"),
    ],
)
def test_schedules_that_do_not_fit_are_refused(
    network: FourM, state: dict[str, ModalityState], plan: TargetPlan, complaint: str
) -> None:
    with pytest.raises(UnsupportedModality, match=complaint):
        generate(network, state, chain([plan], []), IDS)


def test_a_state_that_the_network_cannot_take_is_refused(network: FourM, state: dict[str, ModalityState]) -> None:
    with pytest.raises(UnsupportedModality, match="takes none of tok_semantic"):
        generate(network, {"tok_semantic": state["tok_semantic"]}, chain([plan(target="tok_semantic")], []), IDS)


def test_guidance_moves_every_logit_away_from_the_unconditional_pass(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    seen: list[DecoderPass] = []
    steps = chain([plan(steps=1, guidance=3.0)], ["map", "states"])
    out = generate(network, state, steps, IDS, SamplingOptions(seed=0), seen.append)
    conditional, unconditional = seen
    assert torch.equal(conditional.positions, unconditional.positions)
    guided = unconditional.logits + 3.0 * (conditional.logits - unconditional.logits)
    assert torch.equal(out["tok_visual"].values.gather(1, seen[0].positions), guided.argmax(dim=-1))
    # all rows without their conditions are the same row
    torch.testing.assert_close(unconditional.logits[0], unconditional.logits[2], atol=1e-5, rtol=0)
    assert not torch.allclose(conditional.logits[0], conditional.logits[2], atol=1e-2)


def test_guidance_of_scale_one_is_none_and_an_emptied_sequence_is_not_nothing(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    given_words = {**state, "palette": sequence_input([[7, 8], [9], [10, 11, 12]], IDS)}

    def passes(guidance: Guidance, given_state: dict[str, ModalityState]) -> list[DecoderPass]:
        seen: list[DecoderPass] = []
        step = Step("tok_visual", Scheme.MASKGIT, 16, 0.0, guidance)
        generate(network, given_state, [step], IDS, observe=seen.append)
        return seen

    assert len(passes(Guidance.from_scale(1.0, ["palette"]), given_words)) == 1
    emptied = passes(Guidance.from_scale(2.0, ["palette"]), given_words)[-1].logits
    absent = passes(Guidance.from_weights([2.0], ["palette"]), given_words)[-1].logits
    sentinel = {**state, "palette": sequence_input([[S1]] * 3, IDS)}
    without = {key: entry for key, entry in state.items() if key != "palette"}
    torch.testing.assert_close(emptied, passes(Guidance(), sentinel)[0].logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(absent, passes(Guidance(), without)[0].logits, atol=1e-5, rtol=0)
    assert not torch.allclose(emptied, absent, atol=1e-2)


@pytest.mark.parametrize("scheme", [Scheme.ROAR, Scheme.MASKGIT, Scheme.AUTOREGRESSIVE])
def test_weights_of_several_conditions(network: FourM, state: dict[str, ModalityState], scheme: Scheme) -> None:
    seen: list[DecoderPass] = []
    target = "palette" if scheme is Scheme.AUTOREGRESSIVE else "tok_visual"
    guidance = (2.0, -0.7)
    steps = chain([plan(scheme, target, steps=2, guidance=guidance)], ["map", "states"])
    out = generate(network, state, steps, IDS, SamplingOptions(seed=0), seen.append)
    for first in range(0, len(seen), 3):
        assert torch.equal(seen[first].positions, seen[first + 2].positions)
    if scheme is Scheme.ROAR:
        logits = combine([one.logits for one in seen[:3]], steps[0].guidance)
        assert torch.equal(out[target].values.gather(1, seen[0].positions), logits.argmax(dim=-1))
        # the conditional passes of the second step see what the first one wrote
        assert set(seen[0].positions[0].tolist()).isdisjoint(seen[3].positions[0].tolist())


def test_the_faults_of_the_reference_are_only_repeated_on_request(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    seen: list[DecoderPass] = []
    steps = chain([plan(steps=2, guidance=(2.0, 0.5))], ["map", "states"])
    generate(network, state, steps, IDS, SamplingOptions(seed=0, reference_faults=True), seen.append)
    assert torch.equal(seen[3].positions, seen[0].positions)
    assert torch.equal(seen[3].logits, seen[0].logits)
    assert set(seen[5].positions[0].tolist()).isdisjoint(seen[0].positions[0].tolist())


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
    given_words = {**state, "palette": sequence_input(WORDS, IDS)}
    steps = chain([plan(**sampling)], ["map", "palette"])
    options = SamplingOptions(top_p=0.9, seed=seed, samples=3)
    found = _tokens(generate(network, given_words, steps, IDS, options))
    for row in range(3):
        alone = generate(network, rows(given_words, row), steps, IDS, SamplingOptions(top_p=0.9, seed=seed))
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
    found = _tokens(generate(network, asked, steps, IDS, SamplingOptions(seed=5, samples=3)))
    for row in range(3):
        alone = _tokens(generate(network, rows(asked, row), steps, IDS, SamplingOptions(seed=5)))
        assert alone == {key: [of_all[row]] for key, of_all in found.items()}


def test_samples_may_have_several_rows(network: FourM, state: dict[str, ModalityState]) -> None:
    asked = rows(state, 0, 0, 1, 1)
    asked["palette"] = text_target([[7], [8], [7], [8]], 6, IDS)
    steps = chain([TargetPlan("palette", Scheme.AUTOREGRESSIVE, temperature=2.0)], [])
    found = _tokens(generate(network, asked, steps, IDS, SamplingOptions(seed=1, samples=2)))["palette"]
    for place in (0, 2):
        alone = generate(network, rows(asked, place, place + 1), steps, IDS, SamplingOptions(seed=1))
        assert _tokens(alone)["palette"] == found[place : place + 2]


@torch.inference_mode()
def test_contexts_of_different_lengths_are_decoded_together(network: FourM, small_inputs: dict[str, Any]) -> None:
    context = network.encode(small_inputs)
    short = Context(context.states[:, :4], None if context.mask is None else context.mask[:, :4])
    (joined,) = merge_contexts([context, short])
    tokens = torch.tensor([7, 8, 9])
    found = PrefixDecoder(network, "palette", joined, 3).step(tokens.repeat(2)).chunk(2)
    for one, logits in zip((context, short), found, strict=True):
        torch.testing.assert_close(logits, PrefixDecoder(network, "palette", one, 3).step(tokens), atol=1e-5, rtol=0)


def test_an_empty_context_stays_apart(network: FourM) -> None:
    full, empty = (Context(torch.zeros(1, length, network.config.dim), None) for length in (3, 0))
    assert merge_contexts([full, empty]) == [full, empty]
    assert merge_contexts([empty]) == [empty]
