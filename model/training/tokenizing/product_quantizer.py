"""A memcodes tokenizer that is a product quantizer: its encoder and codes are fitted without gradients.

Training memcodes from random codes with Gumbel noise took hours on a CPU and gave worse results. Here, principal
components are dealt out to the heads so that each has a similar share of the variance, k-means finds each head's codes
(Ge et al., "Optimized Product Quantization", 2013), and the result is written into the tokenizer's own parameters.

h heads, K codes a head, W the width of both MLPs, which is also the number of principal components kept: W / h for each
head.
"""

import torch
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import VQVAE, parse_mlp

_FITTED_ON, _ROUNDS = 12_000, 12


def check_shape(config: TokenizerConfig) -> None:
    """Raise `ConfigInvalid` for a tokenizer of vectors that cannot be a product quantizer."""
    _, width, _ = parse_mlp(config.enc_type)
    heads = config.num_codebooks
    if parse_mlp(config.dec_type)[1] != width or width % heads or width > config.n_channels:
        raise ConfigInvalid(
            f"enc_type and dec_type must have one width, a multiple of num_codebooks {heads} and at most n_channels "
            f"{config.n_channels}, not {config.enc_type!r} and {config.dec_type!r}"
        )
    if config.latent_dim != width + heads:
        raise ConfigInvalid(f"latent_dim must be {width + heads}, one more than the width for each codebook")


@torch.no_grad()
def product_quantizer(config: TokenizerConfig, vectors: Tensor, seed: int) -> VQVAE:
    """A tokenizer of vectors like `vectors` float32 (n, C), in evaluation mode. Raises `ConfigInvalid`.

    A head's slice has one more number than components, 1 in latents and -|c|^2 / 2 in codes c, so that the largest
    product is the nearest code.
    """
    check_shape(config)
    _, width, _ = parse_mlp(config.enc_type)
    heads = config.num_codebooks
    generator = torch.Generator().manual_seed(seed)
    chosen = vectors[torch.randperm(len(vectors), generator=generator)[:_FITTED_ON]]
    mean = chosen.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov((chosen - mean).T))
    axes = axes.flip(1)[:, :width]
    dealt = deal_out(variances.flip(0)[:width], heads)
    tokenizer = VQVAE(config)
    tokenizer.initialise(seed)
    for mlp in (tokenizer.encoder, tokenizer.decoder):
        for block in mlp.blocks:
            nn.init.zeros_(block.block[2].weight)  # type: ignore[union-attr,index]
    _set(tokenizer.encoder.linear_in, axes.T, -axes.T @ mean)
    _set(tokenizer.encoder.linear_out, torch.eye(width), torch.zeros(width))
    _set(tokenizer.decoder.linear_in, torch.eye(width), torch.zeros(width))
    _set(tokenizer.decoder.linear_out, axes, mean)
    _set_slices(tokenizer, dealt)
    parts = ((chosen - mean) @ axes)[:, dealt]  # (n, heads, W / h)
    codes = torch.stack([k_means(parts[:, head], config.codebook_size, generator) for head in range(heads)])
    lengths = codes.square().sum(dim=2, keepdim=True)
    tokenizer.quantize.codes.copy_(torch.cat((codes, -lengths / 2), dim=2))
    identity = torch.eye(codes.shape[2] + 1).expand(heads, -1, -1)
    tokenizer.quantize.to_k.weight.copy_(identity)
    tokenizer.quantize.to_v.weight.copy_(identity)
    tokenizer.quantize.to_v.weight[:, -1] = 0.0
    return tokenizer.eval()


def deal_out(variances: Tensor, heads: int) -> Tensor:
    """Components int64 (heads, W / h): each, largest first, goes to the head with the smallest product so far."""
    dealt: list[list[int]] = [[] for _ in range(heads)]
    logs = [0.0] * heads
    for component, size in enumerate((variances / variances[-1].clamp_min(1e-12)).log().tolist()):
        free = (head for head in range(heads) if len(dealt[head]) < len(variances) // heads)
        head = min(free, key=lambda head: logs[head])
        dealt[head].append(component)
        logs[head] += size
    return torch.tensor(dealt)


def k_means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` centres float32 (K, d) of points (n, d); a centre that lost all points starts anew at one of them."""
    centres = points[torch.randint(len(points), (count,), generator=generator)]
    for _ in range(_ROUNDS):
        nearest = (points @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=1)
        counts = nearest.bincount(minlength=count)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        fresh = points[torch.randint(len(points), (count,), generator=generator)]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), fresh)
    return centres


def _set(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)


def _set_slices(tokenizer: VQVAE, dealt: Tensor) -> None:
    """The two 1x1 convolutions: components to the heads' slices, scaled as the search undoes it, and back."""
    heads, components = dealt.shape
    scale = (components + 1) ** 0.5
    into, back = tokenizer.quant_proj, tokenizer.post_quant_proj
    for convolution in (into, back):
        nn.init.zeros_(convolution.weight)
    for head in range(heads):
        for place, component in enumerate(dealt[head].tolist()):
            into.weight[head * (components + 1) + place, component] = scale
            back.weight[component, head * (components + 1) + place] = 1.0
        into.bias[head * (components + 1) + components] = scale  # type: ignore[index]
