"""Build a tokenizer from its config, and initialise an image tokenizer for training."""

from typing import cast

import torch
from torch import Tensor, nn

from anyseek.model.network.layers import LayerNorm
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.divae import AttentionBlock, DiVAE, PatchedUNet, ResidualBlock
from anyseek.model.tokenizers.image_vqvae import ImageTokenizer, ImageVQVAE
from anyseek.model.tokenizers.vqvae import VQVAE, is_mlp

Tokenizer = VQVAE | ImageVQVAE | DiVAE


def build_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """Build an uninitialised tokenizer. Raises `ConfigInvalid` for an unsupported config."""
    if config.is_diffusion:
        return DiVAE(config)
    return VQVAE(config) if is_mlp(config.enc_type) else ImageVQVAE(config)


_MATRICES = {"qkv": 3}  # matrices stacked in one linear layer, initialised separately


def initialise_image_tokenizer(network: ImageTokenizer, seed: int) -> None:
    """Initialise all parameters for training, reproducibly for a seed.

    Xavier-uniform for linears and convolutions with zero biases, standard normal for label embeddings; norms and
    residual branches of a UNet start as the identity (Dhariwal and Nichol, arXiv 2105.05233). The first batch
    initialises the codes.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            for matrix in module.weight.data.chunk(_MATRICES.get(name.rpartition(".")[2], 1)):
                nn.init.xavier_uniform_(matrix, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, LayerNorm | nn.GroupNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock | AttentionBlock | PatchedUNet):
            nn.init.zeros_(cast(Tensor, _last_layer(module).weight))
    network.quantize.reset_codes()


def _last_layer(module: ResidualBlock | AttentionBlock | PatchedUNet) -> nn.Module:
    if isinstance(module, AttentionBlock):
        return module.proj_out
    return module.out_layers[-1] if isinstance(module, ResidualBlock) else module.out[-1]
