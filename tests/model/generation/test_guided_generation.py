"""How guidance steers generation, and the faults that are only repeated on request."""

import pytest
import torch

from anyseek.model.generation.generate import generate
from anyseek.model.generation.run import Options, Pass
from anyseek.model.generation.schedule import Guidance, Scheme, Step, chain, combine
from anyseek.model.generation.state import ModalityState, given_sequence
from anyseek.model.network.transformer import FourM
from tests.model.generating import IDS, S1, plan


def test_guidance_moves_every_logit_away_from_the_unconditional_pass(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    seen: list[Pass] = []
    steps = chain([plan(steps=1, guidance=3.0)], ["map", "states"])
    out = generate(network, state, steps, IDS, Options(seed=0), seen.append)
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
    given_words = {**state, "palette": given_sequence([[7, 8], [9], [10, 11, 12]], IDS)}

    def passes(guidance: Guidance, given_state: dict[str, ModalityState]) -> list[Pass]:
        seen: list[Pass] = []
        step = Step("tok_visual", Scheme.MASKGIT, 16, 0.0, guidance)
        generate(network, given_state, [step], IDS, observe=seen.append)
        return seen

    assert len(passes(Guidance.together(1.0, ["palette"]), given_words)) == 1
    emptied = passes(Guidance.together(2.0, ["palette"]), given_words)[-1].logits
    absent = passes(Guidance.weighted([2.0], ["palette"]), given_words)[-1].logits
    sentinel = {**state, "palette": given_sequence([[S1]] * 3, IDS)}
    without = {key: entry for key, entry in state.items() if key != "palette"}
    torch.testing.assert_close(emptied, passes(Guidance(), sentinel)[0].logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(absent, passes(Guidance(), without)[0].logits, atol=1e-5, rtol=0)
    assert not torch.allclose(emptied, absent, atol=1e-2)


@pytest.mark.parametrize("scheme", [Scheme.ROAR, Scheme.MASKGIT, Scheme.AUTOREGRESSIVE])
def test_weights_of_several_conditions(network: FourM, state: dict[str, ModalityState], scheme: Scheme) -> None:
    seen: list[Pass] = []
    target = "palette" if scheme is Scheme.AUTOREGRESSIVE else "tok_visual"
    guidance = (2.0, -0.7)
    steps = chain([plan(scheme, target, steps=2, guidance=guidance)], ["map", "states"])
    out = generate(network, state, steps, IDS, Options(seed=0), seen.append)
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
    seen: list[Pass] = []
    steps = chain([plan(steps=2, guidance=(2.0, 0.5))], ["map", "states"])
    generate(network, state, steps, IDS, Options(seed=0, reference_faults=True), seen.append)
    assert torch.equal(seen[3].positions, seen[0].positions)
    assert torch.equal(seen[3].logits, seen[0].logits)
    assert set(seen[5].positions[0].tolist()).isdisjoint(seen[0].positions[0].tolist())
