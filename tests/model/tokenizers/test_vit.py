"""The ViT encoder and decoder of tokenizers."""

import pytest
import torch

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.vit import ViTEncoder, ViTShape, parse_vit
from tests.golden.weights import fill_weights

SMALL = ViTShape(dim=16, depth=2, heads=2, post_mlp=True)


def _encoder(depth: int = 2, grid: int = 4) -> ViTEncoder:
    made = ViTEncoder(ViTShape(16, depth, 2, post_mlp=depth > 0), channels=3, grid=grid, patch=8)
    fill_weights(made)
    return made.eval()


def test_images_of_any_size_and_shape_are_encoded() -> None:
    assert _encoder()(torch.randn(2, 3, 24, 56)).shape == (2, 16, 3, 7)


def test_other_sizes_are_spelt_out() -> None:
    assert parse_vit("vit_w64b2h4_enc", "enc", post_mlp=True) == ViTShape(64, 2, 4, post_mlp=True)


@pytest.mark.parametrize(
    "name", ["vit_b_dec", "vit_h_enc", "vit_w64b0h4_enc", "vit_w64b2h4_dec", "BottleneckMLP/B_6-Wi_1024", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="is not a known encoder"):
        parse_vit(name, "enc", post_mlp=False)
