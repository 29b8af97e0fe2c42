"""Predicted images as values, and the squares of inputs that they are of."""

import numpy as np
import pytest
import torch

from anyseek.model.fourm.bundled.images import DenseTarget
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.modalities.values import check_value
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
