"""The ViT encoder and decoder of tokenizers."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.network.modality_embeddings import sincos_2d
from anyseek.model.tokenizers.vit import ViTDecoder, ViTEncoder, ViTShape, parse_vit
from tests.golden.weights import fill_weights

SMALL = ViTShape(dim=16, depth=2, heads=2, post_mlp=True)


def _encoder(depth: int = 2, grid: int = 4) -> ViTEncoder:
    made = ViTEncoder(ViTShape(16, depth, 2, post_mlp=depth > 0), channels=3, grid=grid, patch=8)
    fill_weights(made)
    return made.eval()


def test_images_of_any_size_and_shape_are_encoded() -> None:
    assert _encoder()(torch.randn(2, 3, 24, 56)).shape == (2, 16, 3, 7)


def test_positions_are_those_of_the_table_on_its_own_grid() -> None:
    encoder, image = _encoder(depth=0), torch.randn(1, 3, 32, 32)
    positions = encoder(image) - encoder.proj(image)
    # token 1 is the second of the first row
    torch.testing.assert_close(positions[0, :, 0, 1], sincos_2d(4, 4, 16)[0, 1], atol=1e-5, rtol=0)


def test_positions_are_interpolated_on_other_grids() -> None:
    encoder, image = _encoder(depth=0, grid=6), torch.randn(1, 3, 24, 40)
    table = sincos_2d(6, 6, 16).transpose(1, 2).reshape(1, 16, 6, 6)
    expected = F.interpolate(table, (3, 5), mode="bicubic")
    torch.testing.assert_close(encoder(image) - encoder.proj(image), expected, atol=1e-5, rtol=0)


def test_patches_are_laid_out_by_channel_row_and_column() -> None:
    decoder = ViTDecoder(ViTShape(16, 0, 2, post_mlp=False), channels=2, grid=3, patch=4, out_conv=False)
    torch.nn.init.zeros_(decoder.out_proj.weight)
    with torch.no_grad():
        decoder.out_proj.bias.copy_(torch.arange(32.0))
        image = decoder(torch.zeros(1, 16, 2, 3))
    assert image.shape == (1, 2, 8, 12)
    # second patch of the first row, channel 1, row 2, column 3 inside the patch
    assert image[0, 1, 2, 4 + 3] == 1 * 16 + 2 * 4 + 3


def test_other_sizes_are_spelt_out() -> None:
    assert parse_vit("vit_w64b2h4_enc", "enc", post_mlp=True) == ViTShape(64, 2, 4, post_mlp=True)


@pytest.mark.parametrize(
    "name", ["vit_b_dec", "vit_h_enc", "vit_w64b0h4_enc", "vit_w64b2h4_dec", "BottleneckMLP/B_6-Wi_1024", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="is not a known encoder"):
        parse_vit(name, "enc", post_mlp=False)
