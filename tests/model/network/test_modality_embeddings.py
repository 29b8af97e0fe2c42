"""Positions and the order of values inside a patch."""

import pytest
import torch

from anyseek.model.network.config import ConfigInvalid, EmbeddingKind, ModalityConfig
from anyseek.model.network.modality_embeddings import (
    PixelEmbedding,
    SequenceDecoderEmbedding,
    SequenceEncoderEmbedding,
    decoder_embedding,
    sincos_1d,
    sincos_2d,
)

SEQUENCE = ModalityConfig("words", EmbeddingKind.SEQUENCE, vocabulary=30, max_length=3)


def test_1d_table_has_sines_first() -> None:
    row = sincos_1d(512, 8)[0, 5]
    frequencies = 10_000.0 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(row, torch.cat(((5 * frequencies).sin(), (5 * frequencies).cos())))


def test_2d_table_has_the_row_first_on_a_square_grid() -> None:
    table = sincos_2d(3, 3, 16)[0]
    positions = sincos_1d(512, 8)[0]
    torch.testing.assert_close(table[1 * 3 + 2], torch.cat((positions[1], positions[2])))


def test_2d_table_divides_by_the_rows_on_any_grid() -> None:
    table = sincos_2d(2, 5, 16)[0]
    positions = sincos_1d(512, 8)[0]
    torch.testing.assert_close(table[7], torch.cat((positions[3], positions[1])))


def test_channels_vary_fastest_inside_a_patch() -> None:
    row = ModalityConfig("picture", EmbeddingKind.PIXELS, grid=(2, 3), patch=2)
    embed = PixelEmbedding(row, 12)
    embed.proj.weight.data = torch.eye(12)
    image = torch.arange(3 * 4 * 6).reshape(1, 3, 4, 6).float()
    patches, embedding = embed(image, torch.zeros(1, 6, dtype=torch.bool))
    expected = [image[0, c, 2 + y, 4 + x].item() for y in range(2) for x in range(2) for c in range(3)]
    assert patches.shape == embedding.shape == (1, 6, 12)
    assert patches[0, 1 * 3 + 2].tolist() == expected


def test_sequence_positions_count_used_entries() -> None:
    embed = SequenceEncoderEmbedding(SEQUENCE, 8)
    mask = torch.tensor([[True, False, True, False, False]])
    _, embedding = embed(torch.zeros(1, 5, dtype=torch.long), mask)
    table = sincos_1d(512, 8)[0]
    expected = torch.stack([torch.zeros(8), table[0], torch.zeros(8), table[1], table[2]])
    torch.testing.assert_close(embedding[0], expected + embed.mod_emb[0])


def test_decoder_positions_from_max_length_on_fall_back_to_the_first() -> None:
    embed = SequenceDecoderEmbedding(SEQUENCE, 8)
    _, embedding = embed(torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 5, dtype=torch.bool))
    table = sincos_1d(512, 8)[0]
    torch.testing.assert_close(embedding[0], table[[0, 1, 2, 0, 0]] + embed.mod_emb[0])


def test_pixels_are_no_target() -> None:
    with pytest.raises(ConfigInvalid, match="picture"):
        decoder_embedding(ModalityConfig("picture", EmbeddingKind.PIXELS, grid=(1, 1), patch=1), 8)
