"""The tokenizer of a config: which class it is."""

from model.tokenizers.config import TokenizerConfig
from model.tokenizers.divae import DiVAE
from model.tokenizers.image_vqvae import ImageVQVAE
from model.tokenizers.mlp import is_mlp
from model.tokenizers.vqvae import VQVAE

Tokenizer = VQVAE | ImageVQVAE | DiVAE


def build_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """The network of a config, its parameters not filled. Raises `ConfigInvalid` for a shape that no class has."""
    if config.is_diffusion:
        return DiVAE(config)
    return VQVAE(config) if is_mlp(config.enc_type) else ImageVQVAE(config)
