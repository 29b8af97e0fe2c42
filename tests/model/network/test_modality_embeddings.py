"""Positions and the order of values inside a patch."""

import pytest
import torch

from anyseek.model.network.config import ConfigInvalid, EmbeddingKind, ModalityConfig
from anyseek.model.network.modality_embeddings import (
    decoder_embedding,
    sincos_1d,
    sincos_2d,
)

SEQUENCE = ModalityConfig("words", EmbeddingKind.SEQUENCE, vocabulary=30, max_length=3)


def test_2d_table_divides_by_the_rows_on_any_grid() -> None:
    table = sincos_2d(2, 5, 16)[0]
    positions = sincos_1d(512, 8)[0]
    torch.testing.assert_close(table[7], torch.cat((positions[3], positions[1])))


def test_pixels_cannot_be_a_target() -> None:
    with pytest.raises(ConfigInvalid, match="picture"):
        decoder_embedding(ModalityConfig("picture", EmbeddingKind.PIXELS, grid=(1, 1), patch=1), 8)
