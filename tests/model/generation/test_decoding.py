"""Which image tokens a step decodes and keeps, and how long sequences are."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from anyseek.model.fourm.codecs import TextCodec
from anyseek.model.generation.generate import PrefixDecoder, generate
from anyseek.model.generation.run import DecoderPass, SamplingOptions
from anyseek.model.generation.schedule import Scheme, TargetPlan
from anyseek.model.generation.state import (
    ModalityState,
    empty_target,
    image_target,
    sequence_input,
    text_target,
)
from anyseek.model.network.config import PUBLISHED_MODALITIES, EmbeddingKind, FourMConfig
from anyseek.model.network.modality_embeddings import SequenceDecoderEmbedding, SequenceEncoderEmbedding
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import FourM
from tests.model.generating import IDS, S1, S2, chain, plan, speaking


@pytest.mark.parametrize("scheme", [Scheme.ROAR, Scheme.MASKGIT])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_token_is_decoded_once_and_becomes_an_input(
    network: FourM, state: dict[str, ModalityState], scheme: Scheme, temperature: float
) -> None:
    seen: list[DecoderPass] = []
    steps = chain([plan(scheme, temperature=temperature)], [])
    out = generate(network, state, steps, IDS, SamplingOptions(seed=0), seen.append)["tok_visual"]
    assert not out.input_mask.any()
    assert out.target_mask.all()
    assert out.values.unique().numel() > 1
    decoded = [one.positions.shape[1] for one in seen]
    assert decoded == ([4, 4, 4, 4] if scheme is Scheme.ROAR else [16, 12, 8, 4])
    assert state["tok_visual"].input_mask.all()  # the state passed in stays as it is


def test_roar_decodes_the_same_places_in_all_rows_and_no_place_twice(
    network: FourM, state: dict[str, ModalityState]
) -> None:
    seen: list[DecoderPass] = []
    generate(network, state, chain([plan()], []), IDS, SamplingOptions(seed=1), seen.append)
    places = torch.cat([one.positions for one in seen], dim=1)
    assert places[0].sort().values.tolist() == list(range(16))
    assert torch.equal(places, places[:1].expand(3, -1))
    assert places[0].tolist() != list(range(16))


def test_maskgit_keeps_the_surest_even_at_temperature_zero(network: FourM, state: dict[str, ModalityState]) -> None:
    seen: list[DecoderPass] = []
    (step, *_) = chain([plan(Scheme.MASKGIT)], [])
    out = generate(network, state, [step], IDS, observe=seen.append)["tok_visual"]
    best = seen[0].logits.softmax(dim=-1).max(dim=-1)
    for row in range(3):
        kept = (~out.input_mask[row]).nonzero().flatten()
        assert set(kept.tolist()) == set(best.values[row].topk(4).indices.tolist())
        assert torch.equal(out.values[row, kept], best.indices[row, kept])


def test_some_tokens_of_an_image_may_be_given(network: FourM, state: dict[str, ModalityState]) -> None:
    places, tokens = torch.tensor([[3, 5], [0, 1], [3, 5]]), torch.tensor([[7, 8]]).expand(3, 2)
    started = {**state, "tok_visual": image_target(3, 16).with_tokens(places, tokens)}
    out = generate(network, started, chain([plan(tokens=14)], []), IDS, SamplingOptions(seed=0))["tok_visual"]
    assert torch.equal(out.values.gather(1, places), tokens)
    assert not out.input_mask.any()


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
    faulty = generate(talker, own, step, IDS, SamplingOptions(reference_faults=True))["palette"].input_rows()
    assert faulty == [[20, 21]] * 3


@pytest.mark.parametrize("changes", [{}, {"qk_norm": True, "num_register_tokens": 2}])
def test_it_gives_what_the_whole_prefix_gives(
    make_fourm: Callable[..., FourM], small_inputs: dict[str, ModalityInput], changes: dict[str, object]
) -> None:
    network = make_fourm(**changes)
    tokens = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(3))  # longer than max_length 10
    with torch.inference_mode():
        context = network.encode(small_inputs)
        decoder = PrefixDecoder(network, "palette", context, 12)
        stepwise = torch.stack([decoder.step(tokens[:, place]) for place in range(12)], dim=1)
        content, embedding = network.decoder_embeddings["palette"](tokens, torch.zeros(3, 12, dtype=torch.bool))
        blocked = torch.ones(1, 12, 12, dtype=torch.bool).triu(1)
        whole = network.logits("palette", network.run_decoder(content + embedding, context, blocked))
    torch.testing.assert_close(stepwise, whole, atol=1e-5, rtol=0)


# tokens that a sequence may have, and the entries of a target from which positions are 0
LENGTHS = {
    "caption": (256, 256),
    "det": (256, 256),
    "metadata": (40, 40),
    "color_palette": (23, 23),
    "human_poses": (275, 263),
    "sam_instance": (290, 290),
}


def test_these_are_all_published_sequences() -> None:
    sequences = [key for key, row in PUBLISHED_MODALITIES.items() if row.kind is EmbeddingKind.SEQUENCE]
    assert sorted(sequences) == sorted(LENGTHS)


@pytest.mark.parametrize("key", LENGTHS)
def test_an_input_is_cut_at_its_tokens_and_every_entry_has_its_own_position(key: str) -> None:
    tokens, _ = LENGTHS[key]

    class Vocabulary:
        def encode(self, text: str) -> list[int]:
            return [7] * len(text.split())

    words = "word " * (tokens + 9)
    assert len(TextCodec("caption").ids(Vocabulary(), words, PUBLISHED_MODALITIES[key].longest)) == tokens
    embed = SequenceEncoderEmbedding(replace(PUBLISHED_MODALITIES[key], vocabulary=9), 8)
    _, embedding = embed(torch.full((1, tokens), 7), torch.zeros(1, tokens, dtype=torch.bool))
    torch.testing.assert_close(embedding[0], embed.pos_emb[0, :tokens])


@pytest.mark.parametrize("key", LENGTHS)
def test_a_target_has_as_many_new_tokens_and_position_0_from_its_length_on(key: str) -> None:
    tokens, positions = LENGTHS[key]
    row = replace(PUBLISHED_MODALITIES[key], vocabulary=30)
    config = FourMConfig(
        domains_in=(key,),
        domains_out=(key,),
        dim=8,
        num_heads=1,
        encoder_depth=1,
        decoder_depth=1,
        modalities={key: row},
    )
    network = FourM(config)
    network.initialise(seed=0)
    speaking(network.eval(), S1, 20, 20, key=key)  # [S_1], then 20 for ever
    steps = chain([TargetPlan(key, Scheme.AUTOREGRESSIVE)], [])
    given = {"other": sequence_input([[7]], IDS), key: empty_target(row, IDS)}
    found = generate(network, given, steps, IDS)[key]
    assert found.input_rows() == [[20] * tokens]
    embed = SequenceDecoderEmbedding(row, 8)
    _, embedding = embed(torch.full((1, tokens), 7), torch.zeros(1, tokens, dtype=torch.bool))
    torch.testing.assert_close(embedding[0, :positions], embed.pos_emb[0, :positions])
    torch.testing.assert_close(embedding[0, positions:], embed.pos_emb[0, :1].expand(tokens - positions, -1))
