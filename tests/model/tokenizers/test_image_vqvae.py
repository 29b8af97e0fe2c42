"""Tokenizers of label maps, feature maps and masks, their outputs, and their initialisation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyseek.model.checkpoints.files import load_image_decoder, load_tokenizer, save_checkpoint
from anyseek.model.errors import CheckpointMismatch
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.build import initialise_image_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.image_vqvae import (
    ImageDecoder,
    ImageTokenizer,
    ImageVQVAE,
    images_to_uint8,
    logits_to_labels,
    logits_to_masks,
)
from tests.golden.weights import fill_weights
from tests.random_bundle import random_image_tokenizer

LABELS = TokenizerConfig(
    n_channels=4, n_labels=6, enc_type="vit_s_enc", dec_type="vit_s_dec", codebook_size=32, latent_dim=8, image_size=32
)
PICTURES = replace(LABELS, n_labels=None, n_channels=3)


@pytest.fixture(scope="module")
def labels() -> ImageVQVAE:
    made = ImageVQVAE(LABELS)
    fill_weights(made)
    return made.eval()


@torch.inference_mode()
def test_label_maps_become_tokens_and_logits(labels: ImageVQVAE) -> None:
    image = torch.randint(0, 6, (2, 48, 32), dtype=torch.uint8)
    tokens = labels.encode(image)
    assert tokens.shape == (2, 3, 2)
    assert tokens.dtype == torch.int64
    assert labels.decode_tokens(tokens).shape == (2, 6, 48, 32)


@torch.inference_mode()
def test_certain_probabilities_decode_like_their_tokens(labels: ImageVQVAE) -> None:
    tokens = torch.tensor([[[0, 31], [7, 5]]])
    soft = labels.decode_probabilities(F.one_hot(tokens, 32).float())
    torch.testing.assert_close(soft, labels.decode_tokens(tokens), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_maps_without_patches_keep_their_grid() -> None:
    made = ImageVQVAE(replace(LABELS, n_labels=None, n_channels=5, patch_proj=False, post_mlp=True)).eval()
    tokens = made.encode(torch.randn(1, 5, 3, 7))
    assert tokens.shape == (1, 3, 7)
    assert made.decode_tokens(tokens).shape == (1, 5, 3, 7)


@torch.inference_mode()
def test_undo_std_takes_normalised_pictures_to_minus_one_to_one() -> None:
    tokenizer = ImageTokenizer(replace(PICTURES, undo_std=True))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colour = torch.tensor([0.0, 0.5, 1.0])
    normalised = ((colour - mean) / deviation)[None, :, None, None].expand(1, 3, 2, 2)
    prepared = tokenizer.prepare(normalised)
    torch.testing.assert_close(prepared[0, :, 1, 1], torch.tensor([-1.0, 0.0, 1.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1, 4, 40, 33), (1, 3, 32, 32), (4, 32, 32)])
def test_images_that_do_not_fit_are_explained(shape: tuple[int, ...]) -> None:
    tokenizer = ImageTokenizer(replace(LABELS, n_labels=None))
    with pytest.raises(ValueError, match=r"4, height, width\) with sides that are multiples of 16"):
        tokenizer.encode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"quant_type": "memcodes"}, "quant_type 'lucid'"),
        ({"num_codebooks": 2}, "num_codebooks 1"),
        ({"norm_latents": True}, "norm_latents False"),
        ({"undo_std": True}, "3 channels"),
    ],
)
def test_unsupported_configs_are_named(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigInvalid, match=complaint):
        ImageTokenizer(replace(LABELS, **changes))


@pytest.mark.parametrize("modality", ["depth", "normal", "semseg"])
@torch.inference_mode()
def test_half_a_tokenizer_decodes_as_the_whole_does(modality: str, tmp_path: Path) -> None:
    whole, path = random_image_tokenizer(modality), tmp_path / "half.safetensors"
    tokens = torch.randint(0, 32, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    save_checkpoint(ImageDecoder(whole), path)
    half = load_image_decoder(path)
    assert half.config == whole.config
    assert torch.equal(half.decode_tokens(tokens), whole.decode_tokens(tokens))
    shares = torch.rand(2, 4, 4, 32, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    assert torch.equal(half.decode_codes(shares @ half.codes), whole.decode_probabilities(shares))
    assert not any(tensor.is_meta for tensor in half.state_dict().values())
    with pytest.raises(CheckpointMismatch, match=r"missing .*encoder\.pos_emb"):
        load_tokenizer(path)


def test_a_whole_tokenizer_and_a_diffusion_are_no_half(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.safetensors"
    save_checkpoint(random_image_tokenizer("depth"), path)
    with pytest.raises(CheckpointMismatch, match=r"missing codes; unexpected encoder\."):
        load_image_decoder(path)
    vit = TokenizerConfig(n_channels=1, enc_type="vit_w16b1h2_enc", codebook_size=8, latent_dim=4, image_size=32)
    save_checkpoint(DiVAE(replace(vit, dec_type="unet_patched", unet_width=32, unet_blocks=1)), path)
    with pytest.raises(ConfigInvalid, match="is of a DiVAE; only an ImageVQVAE decodes in one pass"):
        load_image_decoder(path)


def test_images_span_all_bytes_and_are_clipped() -> None:
    images = torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5).expand(1, 3, 2, 5)
    out = images_to_uint8(images)
    assert out.shape == (1, 2, 5, 3)
    assert out.dtype == np.uint8
    assert out[0, 1, :, 2].tolist() == [0, 0, 128, 255, 255]


def test_labels_are_the_best_logits() -> None:
    logits = torch.zeros(1, 134, 2, 2)
    logits[0, 133, 0, 1] = 1.0
    assert logits_to_labels(logits).tolist() == [[[0, 133], [0, 0]]]


def test_masks_are_where_logits_are_positive() -> None:
    masks = logits_to_masks(torch.tensor([[[[0.5, 0.0, -0.5]]]]))
    assert masks.dtype == np.bool_
    assert masks.tolist() == [[[True, False, False]]]


_VIT = {"enc_type": "vit_w16b1h2_enc", "image_size": 32, "patch_size": 8, "latent_dim": 4, "codebook_size": 8}


def test_initialisation_is_reproducible_and_leaves_the_codes_to_the_first_batch() -> None:
    config = TokenizerConfig.from_values(_VIT | {"dec_type": "vit_w16b1h2_dec", "n_labels": 5})
    networks = [ImageVQVAE(config) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialise_image_tokenizer(network, seed)
    first, same, other = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["encoder.proj.weight"], other["encoder.proj.weight"])
    assert first["cls_emb.weight"].std() > 0.5
    assert first["quantize._codebook.initted"].item() == 0


def test_the_residual_branches_of_a_unet_start_at_zero() -> None:
    config = TokenizerConfig.from_values(_VIT | {"dec_type": "unet_patched", "unet_width": 32, "unet_blocks": 1})
    network = DiVAE(config)
    initialise_image_tokenizer(network, 0)
    image, codes = torch.randn(1, 3, 32, 32), torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        assert not network.decoder(image, torch.tensor([5]), codes).any()
    assert network.decoder.input_blocks[0][0].weight.abs().sum() > 0
