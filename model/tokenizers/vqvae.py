"""The tokenizer of global vectors: an MLP encoder, memcodes, an MLP decoder."""

import torch
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.mlp import BottleneckMLP, parse_mlp
from anyseek.model.tokenizers.quantizers import MemcodesQuantizer


class VQVAE(nn.Module):
    """Vectors to tokens and back; parameter names are those of the published global tokenizers.

    B batch, C vector length, h codebooks, K codes, L latent width. Trained on cosines, so the *length* of a decoded
    vector carries no meaning: normalise before comparing.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        if config.quant_type != "memcodes":
            raise ConfigInvalid(f"quant_type {config.quant_type!r} is not 'memcodes'")
        if config.latent_dim % config.num_codebooks:
            raise ConfigInvalid(
                f"latent_dim {config.latent_dim} is not a multiple of num_codebooks {config.num_codebooks}"
            )
        self.config = config
        blocks, width, expansion = parse_mlp(config.enc_type)
        self.encoder = BottleneckMLP(config.n_channels, width, width, blocks, expansion)
        self.quant_proj = nn.Conv2d(width, config.latent_dim, 1)
        self.quantize = MemcodesQuantizer(config.latent_dim, config.num_codebooks, config.codebook_size)
        blocks, width, expansion = parse_mlp(config.dec_type)
        self.post_quant_proj = nn.Conv2d(config.latent_dim, width, 1)
        self.decoder = BottleneckMLP(width, config.n_channels, width, blocks, expansion)

    def latents(self, vectors: Tensor) -> Tensor:
        """The quantizer's input: vectors float (B, C) -> (B, L)."""
        # (B, W) -> (B, W, 1, 1) for the 1x1 convolution -> (B, L)
        latents: Tensor = self.quant_proj(self.encoder(vectors)[..., None, None])
        return latents.flatten(1)

    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors float (B, C) -> tokens int64 (B, h), each in [0, K)."""
        return self.quantize.assign(self.latents(vectors))

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens int (B, h) -> vectors float (B, C), of any length."""
        return self.decode_latents(self.quantize.lookup(tokens))

    def decode_probabilities(self, probabilities: Tensor) -> Tensor:
        """Soft tokens float (B, h, K), each row summing to 1 -> vectors float (B, C), of any length.

        Each codebook contributes the probability-weighted mean of its value vectors, so the result is a smooth
        function of the probabilities.
        """
        return self.decode_latents(self.quantize.expected_values(probabilities))

    def decode_latents(self, values: Tensor) -> Tensor:
        """Quantised latents float (B, L) -> vectors float (B, C)."""
        # (B, L) -> (B, L, 1, 1) for the 1x1 convolution -> (B, W)
        hidden: Tensor = self.post_quant_proj(values[..., None, None]).flatten(1)
        vectors: Tensor = self.decoder(hidden)
        return vectors

    def forward(self, vectors: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training pass: vectors (B, C) -> reconstructions (B, C) and the tokens drawn, int64 (B, h).

        Tokens are drawn by Gumbel-softmax at `temperature`, with gradients straight through.
        """
        values, tokens = self.quantize.sample(self.latents(vectors), temperature, generator)
        return self.decode_latents(values), tokens

    def initialise(self, seed: int) -> None:
        """Fill all parameters for training, the same way for the same seed: Xavier-uniform, zero biases."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        self.quantize.initialise(generator)
