"""Tokenizer of global feature vectors: MLP encoder, memcodes quantizer (one codebook per head), MLP decoder."""

import re
from collections import OrderedDict
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig

_NAME = re.compile(r"BottleneckMLP/B_(?P<blocks>\d+)-Wi_(?P<width>\d+)(-E_(?P<expansion>\d+))?")


def _residual_block(width: int, expansion: int) -> nn.Module:
    """Expanding linear, GELU, contracting linear; the parameters are those of `block.0` and `block.2`."""
    layers = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
    return nn.Sequential(OrderedDict(block=layers))


class BottleneckMLP(nn.Module):
    """linear_in, residual blocks x + block(LN(x)), linear_out (Bachmann et al., arXiv 2306.13575).

    Named `BottleneckMLP/B_<blocks>-Wi_<width>[-E_<expansion>]` in a config; expansion defaults to 4.
    """

    def __init__(self, dim_in: int, dim_out: int, width: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(dim_in, width)
        self.linear_out = nn.Linear(width, dim_out)
        self.blocks = nn.ModuleList(_residual_block(width, expansion) for _ in range(blocks))
        self.layernorms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, dim_in) -> (B, dim_out)."""
        x = self.linear_in(x)
        for block, norm in zip(self.blocks, self.layernorms, strict=True):
            x = x + block(norm(x))
        out: Tensor = self.linear_out(x)
        return out


def is_mlp(name: str) -> bool:
    """Whether a config's `enc_type` or `dec_type` names an MLP, well-formed or not."""
    return name.startswith("BottleneckMLP")


def parse_mlp(name: str) -> tuple[int, int, int]:
    """Parse blocks, width and expansion from a config's `enc_type` or `dec_type`. Raises `ConfigInvalid`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigInvalid(f"{name!r} is not an MLP name; use one such as 'BottleneckMLP/B_6-Wi_1024-E_4'")
    return int(match["blocks"]), int(match["width"]), int(match["expansion"] or 4)


class _HeadProjection(nn.Module):
    """Per-head linear projection without bias: (heads, K, d) -> (heads, K, d)."""

    def __init__(self, heads: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, dim, dim))

    def forward(self, rows: Tensor) -> Tensor:
        return torch.einsum("hkd,hde->hke", rows, self.weight)


class MemcodesQuantizer(nn.Module):
    """Memcodes quantizer: splits a latent vector into heads and maps each slice to the id of its best code.

    B batch, h heads, K codes per head, d = latent_dim / h. Keys `codes` (h, K, d), `to_k.weight` and `to_v.weight`
    (h, d, d). Token i is an id of codebook i.
    """

    value_table: Tensor | None

    def __init__(self, latent_dim: int, heads: int, codebook_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (latent_dim // heads) ** -0.5
        self.codes = nn.Parameter(torch.zeros(heads, codebook_size, latent_dim // heads))
        self.to_k = _HeadProjection(heads, latent_dim // heads)
        self.to_v = _HeadProjection(heads, latent_dim // heads)
        self.register_buffer("value_table", None, persistent=False)

    def cache_values(self) -> None:
        """Cache the value vectors of all codes, which are otherwise projected again for each lookup."""
        self.value_table = self.to_v(self.codes).detach()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; training drops the cached value vectors, because codes and projections change."""
        if mode:
            self.value_table = None
        return super().train(mode)

    def values(self) -> Tensor:
        """Value vectors of all codes: float (h, K, d)."""
        if self.value_table is not None:
            return self.value_table
        values: Tensor = self.to_v(self.codes)
        return values

    def scores(self, latents: Tensor) -> Tensor:
        """Scores of all codes, higher is better: latents float (B, h*d) -> (B, h, K)."""
        # (B, h*d) -> (B, h, d)
        queries = latents.reshape(len(latents), self.heads, -1) * self.scale
        return torch.einsum("bhd,hkd->bhk", queries, self.to_k(self.codes))

    def assign(self, latents: Tensor) -> Tensor:
        """Best code of each head: latents float (B, h*d) -> ids int64 (B, h)."""
        return self.scores(latents).argmax(dim=2)

    def lookup(self, ids: Tensor) -> Tensor:
        """Value vectors of codes: ids int (B, h) -> float (B, h*d)."""
        head = torch.arange(self.heads, device=ids.device)
        # (B, h, d) -> (B, h*d)
        return self.values()[head, ids].flatten(1)

    def expected_values(self, probabilities: Tensor) -> Tensor:
        """Probability-weighted mean of each head's value vectors: float (B, h, K) -> (B, h*d).

        With one-hot probabilities this equals `lookup`.
        """
        # (B, h, d) -> (B, h*d)
        return torch.einsum("bhk,hkd->bhd", probabilities, self.values()).flatten(1)

    def sample(self, latents: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample codes for training: latents (B, h*d) -> values (B, h*d) and ids int64 (B, h).

        Straight-through Gumbel-softmax: the values of the sampled codes, with the gradient of the softmax. The noise
        is generated on the generator's device.
        """
        scores = self.scores(latents)
        uniform = torch.rand(scores.shape, generator=generator, device=generator.device).to(scores.device)
        # uniform is never 1, so the exponential number is never 0
        exponential = -torch.log(uniform.clamp_min(torch.finfo(uniform.dtype).tiny))
        gumbel = -torch.log(exponential)
        soft = ((scores + gumbel) / temperature).softmax(dim=2)
        ids = soft.argmax(dim=2)
        hard = F.one_hot(ids, soft.shape[2]).to(soft.dtype)
        return self.expected_values(hard + soft - soft.detach()), ids

    def initialise(self, generator: torch.Generator) -> None:
        """Initialise for training: standard normal codes, Xavier-uniform projections per head."""
        nn.init.normal_(self.codes, generator=generator)
        for projection in (self.to_k, self.to_v):
            for matrix in projection.weight.data:
                nn.init.xavier_uniform_(matrix, generator=generator)


class VQVAE(nn.Module):
    """Tokenizer of feature vectors; parameter names match the published global tokenizers.

    B batch, C vector length, h codebooks, K codes, L latent width. Trained on cosines, so the *norm* of a decoded
    vector has no meaning: normalise before comparing.
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
        """Unquantised latents: vectors float (B, C) -> (B, L)."""
        # (B, W) -> (B, W, 1, 1) for the 1x1 convolution -> (B, L)
        latents: Tensor = self.quant_proj(self.encoder(vectors)[..., None, None])
        return latents.flatten(1)

    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors float (B, C) -> tokens int64 (B, h), each in [0, K)."""
        return self.quantize.assign(self.latents(vectors))

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens int (B, h) -> vectors float (B, C) of any norm."""
        return self.decode_latents(self.quantize.lookup(tokens))

    def decode_probabilities(self, probabilities: Tensor) -> Tensor:
        """Soft tokens float (B, h, K), each row summing to 1 -> vectors float (B, C), of any length.

        Each codebook contributes the probability-weighted mean of its value vectors, so the result is differentiable
        in the probabilities.
        """
        return self.decode_latents(self.quantize.expected_values(probabilities))

    def decode_latents(self, values: Tensor) -> Tensor:
        """Quantised latents float (B, L) -> vectors float (B, C)."""
        # (B, L) -> (B, L, 1, 1) for the 1x1 convolution -> (B, W)
        hidden: Tensor = self.post_quant_proj(values[..., None, None]).flatten(1)
        vectors: Tensor = self.decoder(hidden)
        return vectors

    def forward(self, vectors: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training pass: vectors (B, C) -> reconstructions (B, C) and sampled tokens int64 (B, h).

        Tokens are sampled by straight-through Gumbel-softmax at `temperature`.
        """
        values, tokens = self.quantize.sample(self.latents(vectors), temperature, generator)
        return self.decode_latents(values), tokens

    def initialise(self, seed: int) -> None:
        """Initialise all parameters for training, reproducibly for a seed: Xavier-uniform, zero biases."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        self.quantize.initialise(generator)
