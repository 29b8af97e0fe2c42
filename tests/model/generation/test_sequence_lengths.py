"""Sequences are as long as the published networks take them, and positions are those of the published decoder.

Spec 2.3, 3.2 and 6.5: an input has at most as many tokens as its modality; a target may have as many new ones, of which
those from `max_length` on stand at position 0.
"""

from dataclasses import replace

import pytest
import torch

from anyseek.model.fourm.codecs import Text
from anyseek.model.generation.generate import generate
from anyseek.model.generation.schedule import Scheme, TargetPlan, chain
from anyseek.model.generation.state import empty_target, given_sequence
from anyseek.model.network.config import PUBLISHED_MODALITIES, EmbeddingKind, FourMConfig
from anyseek.model.network.modality_embeddings import SequenceDecoderEmbedding, SequenceEncoderEmbedding
from anyseek.model.network.transformer import FourM
from tests.model.generating import IDS, S1, speaking

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
    assert len(Text("caption").ids(Vocabulary(), words, PUBLISHED_MODALITIES[key].longest)) == tokens  # type: ignore[arg-type]
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
    given = {"other": given_sequence([[7]], IDS), key: empty_target(row, IDS)}
    found = generate(network, given, steps, IDS)[key]
    assert found.input_rows() == [[20] * tokens]
    embed = SequenceDecoderEmbedding(row, 8)
    _, embedding = embed(torch.full((1, tokens), 7), torch.zeros(1, tokens, dtype=torch.bool))
    torch.testing.assert_close(embedding[0, :positions], embed.pos_emb[0, :positions])
    torch.testing.assert_close(embedding[0, positions:], embed.pos_emb[0, :1].expand(tokens - positions, -1))
