"""The decoding half of a tokenizer says what the whole one says, in a file of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoints import load_image_decoder, load_tokenizer, save_checkpoint
from model.config import ConfigInvalid
from model.errors import CheckpointMismatch
from model.tokenizers.config import TokenizerConfig
from model.tokenizers.divae import DiVAE
from model.tokenizers.image_decoder import ImageDecoder
from tests.random_bundle import random_image_tokenizer


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
