"""The numbers that training begins with."""

import torch

from anyseek.model.tokenizers.build import initialise_image_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE

_VIT = {"enc_type": "vit_w16b1h2_enc", "image_size": 32, "patch_size": 8, "latent_dim": 4, "codebook_size": 8}


def test_a_seed_says_everything_and_the_codes_wait_for_the_first_batch() -> None:
    config = TokenizerConfig.from_values(_VIT | {"dec_type": "vit_w16b1h2_dec", "n_labels": 5})
    networks = [ImageVQVAE(config) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialise_image_tokenizer(network, seed)
    first, same, other = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["encoder.proj.weight"], other["encoder.proj.weight"])
    assert first["cls_emb.weight"].std() > 0.5
    assert first["quantize._codebook.initted"].item() == 0


def test_the_residual_branches_of_a_unet_begin_at_nothing() -> None:
    config = TokenizerConfig.from_values(_VIT | {"dec_type": "unet_patched", "unet_width": 32, "unet_blocks": 1})
    network = DiVAE(config)
    initialise_image_tokenizer(network, 0)
    image, codes = torch.randn(1, 3, 32, 32), torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        assert not network.decoder(image, torch.tensor([5]), codes).any()
    assert network.decoder.input_blocks[0][0].weight.abs().sum() > 0
