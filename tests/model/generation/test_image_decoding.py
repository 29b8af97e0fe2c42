"""Which image tokens a step decodes and keeps."""

import pytest
import torch

from model.generation.generate import generate
from model.generation.run import GenerationInvalid, Options, Pass
from model.generation.schedule import Scheme, chain
from model.generation.state import ModalityState, image_target
from model.transformer import FourM
from tests.model.generating import IDS, plan


@pytest.mark.parametrize("scheme", [Scheme.ROAR, Scheme.MASKGIT])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_token_is_decoded_once_and_becomes_an_input(
    network: FourM, state: dict[str, ModalityState], scheme: Scheme, temperature: float
) -> None:
    seen: list[Pass] = []
    steps = chain([plan(scheme, temperature=temperature)], [])
    out = generate(network, state, steps, IDS, Options(seed=0), seen.append)["tok_visual"]
    assert not out.input_mask.any()
    assert out.target_mask.all()
    assert out.values.unique().numel() > 1
    decoded = [one.positions.shape[1] for one in seen]
    assert decoded == ([4, 4, 4, 4] if scheme is Scheme.ROAR else [16, 12, 8, 4])
    assert state["tok_visual"].input_mask.all()  # the state passed in stays as it is


def test_roar_decodes_the_same_places_in_all_rows_and_no_place_twice(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    seen: list[Pass] = []
    generate(network, state, chain([plan()], []), IDS, Options(seed=1), seen.append)
    places = torch.cat([one.positions for one in seen], dim=1)
    assert places[0].sort().values.tolist() == list(range(16))
    assert torch.equal(places, places[:1].expand(3, -1))
    assert places[0].tolist() != list(range(16))


def test_maskgit_keeps_the_surest_even_at_temperature_zero(network: FourM, state: dict[str, ModalityState]) -> None:
    seen: list[Pass] = []
    (step, *_) = chain([plan(Scheme.MASKGIT)], [])
    out = generate(network, state, [step], IDS, observe=seen.append)["tok_visual"]
    best = seen[0].logits.softmax(dim=-1).max(dim=-1)
    for row in range(3):
        kept = (~out.input_mask[row]).nonzero().flatten()
        assert set(kept.tolist()) == set(best.values[row].topk(4).indices.tolist())
        assert torch.equal(out.values[row, kept], best.indices[row, kept])


def test_some_tokens_of_an_image_may_be_given(network: FourM, state: dict[str, ModalityState]) -> None:
    places, tokens = torch.tensor([[3, 5], [0, 1], [3, 5]]), torch.tensor([[7, 8]]).expand(3, 2)
    started = {**state, "tok_visual": image_target(3, 16).written(places, tokens)}
    out = generate(network, started, chain([plan(tokens=14)], []), IDS, Options(seed=0))["tok_visual"]
    assert torch.equal(out.values.gather(1, places), tokens)
    assert not out.input_mask.any()


def test_rows_with_different_numbers_of_open_places_are_refused(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    mask = state["tok_visual"].target_mask.clone()
    mask[0, :3] = True
    uneven = ModalityState(state["tok_visual"].values, ~mask, mask)
    with pytest.raises(GenerationInvalid, match=r"\[13, 16\] tokens"):
        generate(network, {**state, "tok_visual": uneven}, chain([plan()], []), IDS)
