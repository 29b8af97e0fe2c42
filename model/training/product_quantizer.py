"""A memcodes tokenizer that is a product quantizer: the start of tokenizer training, found without gradients.

Training memcodes from random codes by Gumbel noise took hours on a CPU and ended lower. Principal components are dealt
out to the heads so that each has a like share of the variance, k-means finds each head's codes (Ge et al.,
"Optimized Product Quantization", 2013), and the result is written into the tokenizer's own parameters.
"""

import torch
from torch import Tensor, nn

from model.tokenizers.config import TokenizerConfig
from model.tokenizers.vqvae import VQVAE

TOKENS, CODES = 16, 1024
_COMPONENTS = 192  # principal components kept, 12 a head
_SLICE = _COMPONENTS // TOKENS
_MLP = f"BottleneckMLP/B_1-Wi_{_COMPONENTS}-E_2"
_FITTED_ON, _ROUNDS, _SEED = 12_000, 12, 0


@torch.no_grad()
def product_quantizer(vectors: Tensor) -> VQVAE:
    """A tokenizer of vectors like `vectors` float32 (n, C), in evaluation mode.

    A head's slice has a 13th number, 1 in latents and -|c|^2 / 2 in codes c, so that the largest product is the nearest
    code.
    """
    generator = torch.Generator().manual_seed(_SEED)
    chosen = vectors[torch.randperm(len(vectors), generator=generator)[:_FITTED_ON]]
    mean = chosen.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov((chosen - mean).T))
    axes = axes.flip(1)[:, :_COMPONENTS]
    dealt = deal_out(variances.flip(0)[:_COMPONENTS])
    tokenizer = VQVAE(TokenizerConfig(vectors.shape[1], _MLP, _MLP, "memcodes", CODES, TOKENS, TOKENS * (_SLICE + 1)))
    tokenizer.initialise(_SEED)
    for mlp in (tokenizer.encoder, tokenizer.decoder):
        nn.init.zeros_(mlp.blocks[0].block[2].weight)  # type: ignore[union-attr,index]
    _set(tokenizer.encoder.linear_in, axes.T, -axes.T @ mean)
    _set(tokenizer.encoder.linear_out, torch.eye(_COMPONENTS), torch.zeros(_COMPONENTS))
    _set(tokenizer.decoder.linear_in, torch.eye(_COMPONENTS), torch.zeros(_COMPONENTS))
    _set(tokenizer.decoder.linear_out, axes, mean)
    _set_slices(tokenizer, dealt)
    parts = ((chosen - mean) @ axes)[:, dealt]  # (n, heads, 12)
    codes = torch.stack([k_means(parts[:, head], generator) for head in range(TOKENS)])
    lengths = codes.square().sum(dim=2, keepdim=True)
    tokenizer.quantize.codes.copy_(torch.cat((codes, -lengths / 2), dim=2))
    identity = torch.eye(_SLICE + 1).expand(TOKENS, -1, -1)
    tokenizer.quantize.to_k.weight.copy_(identity)
    tokenizer.quantize.to_v.weight.copy_(identity)
    tokenizer.quantize.to_v.weight[:, -1] = 0.0
    return tokenizer.eval()


def deal_out(variances: Tensor) -> Tensor:
    """Components int64 (heads, 12): each component, largest first, to the head with the smallest product so far."""
    heads: list[list[int]] = [[] for _ in range(TOKENS)]
    logs = [0.0] * TOKENS
    for component, size in enumerate((variances / variances[-1].clamp_min(1e-12)).log().tolist()):
        head = min((h for h in range(TOKENS) if len(heads[h]) < _SLICE), key=lambda h: logs[h])
        heads[head].append(component)
        logs[head] += size
    return torch.tensor(heads)


def k_means(points: Tensor, generator: torch.Generator) -> Tensor:
    """1024 centres float32 (1024, d) of points (n, d); a centre that lost all points starts anew at one of them."""
    centres = points[torch.randint(len(points), (CODES,), generator=generator)]
    for _ in range(_ROUNDS):
        nearest = (points @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=1)
        counts = nearest.bincount(minlength=CODES)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        fresh = points[torch.randint(len(points), (CODES,), generator=generator)]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), fresh)
    return centres


def _set(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)


def _set_slices(tokenizer: VQVAE, dealt: Tensor) -> None:
    """The two 1x1 convolutions: components to the heads' slices, scaled as the search undoes it, and back."""
    scale = (_SLICE + 1) ** 0.5
    into, back = tokenizer.quant_proj, tokenizer.post_quant_proj
    for convolution in (into, back):
        nn.init.zeros_(convolution.weight)
    for head in range(TOKENS):
        for place, component in enumerate(dealt[head].tolist()):
            into.weight[head * (_SLICE + 1) + place, component] = scale
            back.weight[component, head * (_SLICE + 1) + place] = 1.0
        into.bias[head * (_SLICE + 1) + _SLICE] = scale  # type: ignore[index]
