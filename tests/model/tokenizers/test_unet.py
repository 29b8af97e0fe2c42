"""The UNet of diffusion decoders, in a small shape."""

import pytest
import torch

from anyseek.model.tokenizers.unet import AttentionBlock, PatchedUNet, UNetShape, embed_timesteps
from tests.golden.weights import fill_weights

SMALL = UNetShape(patch=2, width=32, multipliers=(1, 2), blocks_a_level=1, attention_levels=frozenset({1}))


@pytest.fixture(scope="module")
def unet() -> PatchedUNet:
    made = PatchedUNet(channels=3, latent_dim=5, shape=SMALL)
    fill_weights(made)
    return made.eval()


@torch.inference_mode()
def test_image_time_and_codes_all_matter(unet: PatchedUNet) -> None:
    image, codes, time = torch.randn(2, 3, 8, 12), torch.randn(2, 5, 2, 3), torch.tensor([3, 3])
    out = unet(image, time, codes)
    assert out.shape == image.shape
    for changed in (unet(image + 1, time, codes), unet(image, time + 400, codes), unet(image, time, codes + 1)):
        assert not torch.allclose(out, changed, atol=1e-3)


@torch.inference_mode()
def test_a_batch_gives_what_its_rows_give(unet: PatchedUNet) -> None:
    image, codes, time = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 1, 1), torch.tensor([0, 999])
    alone = unet(image[1:], time[1:], codes[1:])
    torch.testing.assert_close(unet(image, time, codes)[1:], alone, atol=1e-4, rtol=1e-4)


def test_stages_are_numbered_as_published() -> None:
    with torch.device("meta"):
        unet = PatchedUNet(channels=1, latent_dim=32, shape=UNetShape())
    assert (len(unet.input_blocks), len(unet.middle_block), len(unet.output_blocks)) == (16, 3, 16)
    assert [len(stage) for stage in unet.input_blocks] == [1] * 9 + [2] * 3 + [1] + [2] * 3
    assert [len(stage) for stage in unet.output_blocks] == [2, 2, 2, 3, 2, 2, 2, 3, 1, 1, 1, 2, 1, 1, 1, 1]
    assert unet.shape.side_multiple == 32


def test_other_sides_are_refused(unet: PatchedUNet) -> None:
    with pytest.raises(ValueError, match="8 x 10 must have sides that are multiples of 4"):
        unet(torch.zeros(1, 3, 8, 10), torch.tensor([0]), torch.zeros(1, 5, 1, 1))


def test_time_is_cosines_then_sines() -> None:
    embedded = embed_timesteps(torch.tensor([0, 7]), 6)
    assert torch.equal(embedded[0], torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
    frequencies = 10_000 ** (-torch.arange(3) / 3)
    torch.testing.assert_close(embedded[1], torch.cat(((7 * frequencies).cos(), (7 * frequencies).sin())))


def test_attention_has_one_head_over_all_channels() -> None:
    block = AttentionBlock(32)
    fill_weights(block)
    x = torch.randn(1, 32, 2, 3)
    query, key, value = block.qkv(block.norm(x).flatten(2))[0].split(32)
    weights = (query.T @ key / 32**0.5).softmax(dim=1)
    expected = x + block.proj_out((value @ weights.T)[None]).reshape(x.shape)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
