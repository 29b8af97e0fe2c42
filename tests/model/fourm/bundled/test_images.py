"""Predicted images as values, and the squares of inputs that they are of."""

import numpy as np
import pytest
import torch

from anyseek.model.fourm.bundled.images import DenseTarget, token_difference
from anyseek.model.fourm.bundled.layout import DENSE
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.modalities.values import check_value
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.seam import Regions
from anyseek.model.tokenizers.image_vqvae import ImageDecoder
from tests.random_bundle import random_image_tokenizer


@pytest.mark.parametrize("name", ["rgb", "depth", "normal", "semseg", "canny_edge"])
def test_tokens_become_values_of_their_modality(name: str) -> None:
    decoder = ImageDecoder(random_image_tokenizer(name))
    target = DenseTarget(name, lambda: decoder, {1: "wall", 9: "nowhere"})
    value = target.value(torch.arange(16).view(4, 4))
    check_value(MODALITIES[name], value)
    if isinstance(value, Regions):
        assert value.classes == {1: "wall"} if (value.ids == 1).any() else {}
        assert value.ids.shape == (32, 32)
    else:
        assert np.asarray(value).shape[:2] == (32, 32)


def test_keys_are_those_that_tokens_have_in_data_sets() -> None:
    assert DENSE["depth"] == "tok_depth"
    assert not DENSE.keys() & {"caption", "metadata", "visual_global", "clip", "bounding_boxes"}


def test_other_tokens_are_told_in_words() -> None:
    config = random_image_tokenizer("depth").config
    row = ModalityConfig("tok_depth", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=32)
    assert token_difference(row, config) == ""
    other = ModalityConfig("tok_depth", EmbeddingKind.IMAGE_TOKENS, (4, 2), vocabulary=64)
    assert token_difference(other, config) == (
        "makes 4 x 4 tokens of 32 codes; the network's tok_depth has 4 x 2 of 64"
    )
