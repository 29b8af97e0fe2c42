"""Where sequences begin and end, and how they fill the gaps of their input."""

from model.generation.generate import generate
from model.generation.run import Options
from model.generation.schedule import Scheme, TargetPlan, chain
from model.generation.state import ModalityState, sequence_target, text_target
from model.transformer import FourM
from tests.model.generating import IDS, S1, S2, speaking


def test_a_sequence_ends_at_its_end_token_and_fills_the_gap_of_its_input(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    talker = speaking(network, S1, 20, 21, 1, 30, 31)
    texts = text_target([[7, S1, 9], [8, S1], [S1]], 6, IDS)
    out = generate(talker, {**state, "palette": texts}, chain([TargetPlan("palette", Scheme.AUTOREGRESSIVE)], []), IDS)
    assert out["palette"].input_rows() == [[7, 20, 21, 1, 9], [8, 20, 21, 1], [20, 21, 1]]
    assert out["palette"].target_mask.all()


def test_an_empty_target_ends_at_the_second_sentinel_or_when_it_is_full(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    step = chain([TargetPlan("palette", Scheme.AUTOREGRESSIVE)], [])
    full = generate(speaking(network, S1, 20, 21, 22, 20), state, step, IDS)["palette"]
    assert full.input_rows() == [[20, 21, 22, 20, 21, 22, 20]] * 3
    ended = generate(speaking(network, S1, 20, S2, 21), state, step, IDS)["palette"]
    assert ended.input_rows() == [[20]] * 3


def test_rows_begin_and_end_with_their_own_tokens(network: FourM, state: dict[str, ModalityState]) -> None:
    talker = speaking(network, S1, 20, 21, 22, 23)
    target = text_target([[S1], [S1], [S1]], 6, IDS)
    values = target.values.clone()
    values[0, -1], values[1, -1] = 21, 22
    own = {**state, "palette": ModalityState(values, target.input_mask, target.target_mask)}
    step = chain([TargetPlan("palette", Scheme.AUTOREGRESSIVE)], [])
    rows = generate(talker, own, step, IDS)["palette"].input_rows()
    assert rows[:2] == [[20, 21], [20, 21, 22]]
    assert len(rows[2]) == 6
    faulty = generate(talker, own, step, IDS, Options(reference_faults=True))["palette"].input_rows()
    assert faulty == [[20, 21]] * 3


def test_no_more_tokens_than_the_modality_holds(network: FourM, state: dict[str, ModalityState]) -> None:
    long = {**state, "palette": sequence_target(3, 30, IDS)}
    out = generate(speaking(network, S1, 20), long, chain([TargetPlan("palette", Scheme.AUTOREGRESSIVE)], []), IDS)
    assert len(out["palette"].input_rows()[0]) == 10
