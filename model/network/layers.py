"""The layers of 4M: layer norm, feed-forward, attention and the encoder and decoder blocks.

B batch, N keys (encoder tokens), M queries (decoder tokens), D width, H heads. Parameter names match the published
checkpoints. Masks are boolean and True means blocked.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid, FourMConfig

NORM_EPSILON = 1e-6

# Folding is used if it needs at most this share of the operations: its smaller products cost more per operation.
_MAX_FOLDED_SHARE = 0.75


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis; without `learned_bias` the bias is a buffer that is stored and added."""

    bias: Tensor

    def __init__(self, dim: int, *, learned_bias: bool) -> None:
        super().__init__()
        self.dim = dim
        self.weight = nn.Parameter(torch.ones(dim))
        if learned_bias:
            self.register_parameter("bias", nn.Parameter(torch.zeros(dim)))
        else:
            self.register_buffer("bias", torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.dim,), self.weight, self.bias, NORM_EPSILON)


def activation(name: str) -> nn.Module:
    """The `torch.nn` activation called `name`, such as SiLU or GELU. Raises `ConfigInvalid` for any other name."""
    kind = getattr(nn.modules.activation, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ConfigInvalid(f"act_layer {name!r} is not an activation of torch.nn; use one such as SiLU or GELU")
    module: nn.Module = kind()
    return module


class FeedForward(nn.Module):
    """fc2(act(fc1 x)), or with `gated_mlp` fc2(act(fc1 x) * fc3 x), which is SwiGLU if act is SiLU."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        hidden = int(config.dim * config.mlp_ratio)
        if config.gated_mlp:
            hidden = int(2 * hidden / 3)
        self.fc1 = nn.Linear(config.dim, hidden, bias=config.mlp_bias)
        self.act = activation(config.act_layer)
        self.fc2 = nn.Linear(hidden, config.dim, bias=config.mlp_bias)
        self.fc3 = nn.Linear(config.dim, hidden, bias=config.mlp_bias) if config.gated_mlp else None

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.act(self.fc1(x))
        if self.fc3 is not None:
            gate = self.fc3(x)
            # In place if no gradient needs the factors: allocating a tensor of this size costs more than the product.
            hidden = hidden * gate if torch.is_grad_enabled() else hidden.mul_(gate)
        out: Tensor = self.fc2(hidden)
        return out


def attend(query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None) -> Tensor:
    """Scaled dot-product attention, softmax(q k^T / sqrt(d)) v, with a finite negative bias on blocked entries.

    query (B, H, M, d), key and value (B, H, N, d), blocked bool broadcastable to (B, H, M, N) -> (B, M, H*d).
    A query whose keys are all blocked attends to all of them equally; without keys the result is 0.
    """
    bias = None if blocked is None else attention_bias(blocked, query.dtype)
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and query.requires_grad:
        out = _attend_unfused(query, key, value, bias)
    else:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    # (B, H, M, d) -> (B, M, H*d)
    return out.transpose(1, 2).flatten(2)


def _attend_unfused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention for bfloat16 training on a CPU, where the gradient of torch's fused function takes 5 times as long."""
    logits = query * query.shape[3] ** -0.5 @ key.mT
    if bias is not None:
        logits = logits + bias
    out: Tensor = logits.softmax(dim=3) @ value
    return out


def attention_bias(blocked: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention bias: 0, or a number far below every logit where `blocked` is True."""
    # Half of the lowest number: far below every logit, yet no kernel overflows it to -inf when rescaling.
    bias = torch.zeros(blocked.shape, dtype=dtype, device=blocked.device)
    return bias.masked_fill(blocked, torch.finfo(dtype).min / 2)


class Attention(nn.Module):
    """Multi-head self-attention; with `qk_norm`, each head's queries and keys are normalised first."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.head_dim = config.dim // config.num_heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=config.qkv_bias)
        self.proj = nn.Linear(config.dim, config.dim, bias=config.proj_bias)
        self.q_norm, self.k_norm = _head_norms(config)

    def project_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (B, N, D), each (B, H, N, d)."""
        # (B, N, 3*D) -> (3, B, H, N, d)
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        return self.q_norm(query), self.k_norm(key), value

    def forward(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        out: Tensor = self.proj(attend(*self.project_heads(x), blocked))
        return out


def is_folding_faster(queries: int, keys: int, dim: int, heads: int) -> bool:
    """Whether `CrossAttention.attend_folded` is faster for M queries and N keys of width D in H heads.

    Multiplications per row: 2 M D (D + H N) folded, 2 N D (D + M) projected. With D = 768 and H = 12, folding is faster
    up to 37 queries for 196 keys, and from 32 keys on for 16 queries.
    """
    folded = queries * (dim + heads * keys)
    projected = keys * (dim + queries)
    return folded <= _MAX_FOLDED_SHARE * projected


class CrossAttention(nn.Module):
    """Multi-head cross-attention from decoder tokens to the encoder's context.

    Two ways compute the same function, and `forward` takes the cheaper one: `attend_projected` projects every context
    token to keys and values; `attend_folded` applies both projections on the query side, cheaper for few queries.
    """

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.head_dim = config.dim // config.num_heads
        self.q = nn.Linear(config.dim, config.dim, bias=config.qkv_bias)
        self.kv = nn.Linear(config.dim, 2 * config.dim, bias=config.qkv_bias)
        self.foldable = not config.qk_norm
        self.proj = nn.Linear(config.dim, config.dim, bias=config.proj_bias)
        self.q_norm, self.k_norm = _head_norms(config)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of context (B, N, D), each (B, H, N, d)."""
        # (B, N, 2*D) -> (2, B, H, N, d)
        kv = self.kv(context).unflatten(2, (2, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        key, value = kv.unbind(0)
        return self.k_norm(key), value

    def attend_to(self, x: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None) -> Tensor:
        """Attention of x (B, M, D) to keys and values (B, H, N, d) -> (B, M, D)."""
        # (B, M, D) -> (B, H, M, d)
        query = self.q(x).unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)
        out: Tensor = self.proj(attend(self.q_norm(query), key, value, blocked))
        return out

    def attend_projected(self, x: Tensor, context: Tensor, blocked: Tensor | None) -> Tensor:
        """Attention of x (B, M, D) to the keys and values of context (B, N, D) -> (B, M, D)."""
        return self.attend_to(x, *self.keys_values(context), blocked)

    def attend_folded(self, x: Tensor, context: Tensor, blocked: Tensor | None) -> Tensor:
        """`attend_projected`, up to rounding, without computing keys or values. Not for `qk_norm` or an empty context.

        With key and value matrices K and V of a head, q (K c)^T = (q K) c^T and p (V c) = (p c) V^T. A key bias adds
        the same to all logits of a query, so it drops out; a value bias is added once, as weights p sum to 1.
        """
        batch, queries, dim = x.shape
        # (2*D, D) -> two of (H, d, D)
        key_matrix, value_matrix = self.kv.weight.view(2, self.num_heads, self.head_dim, dim).unbind(0)
        query = (self.q(x) * self.head_dim**-0.5).unflatten(2, (self.num_heads, self.head_dim))
        # (B, M, H, d) -> (H, B*M, d) -> (H, B*M, D)
        query = query.permute(2, 0, 1, 3).flatten(1, 2) @ key_matrix
        # -> (H, B, M, D) -> (B, H*M, D) -> (B, H, M, N)
        logits = query.unflatten(1, (batch, queries)).transpose(0, 1).flatten(1, 2) @ context.mT
        logits = logits.unflatten(1, (self.num_heads, queries))
        if blocked is not None:
            logits = logits + attention_bias(blocked, logits.dtype)
        # (B, H*M, N) @ (B, N, D) -> (B, H, M, D)
        summed = (logits.softmax(dim=3).flatten(1, 2) @ context).unflatten(1, (self.num_heads, queries))
        # (H, B*M, D) @ (H, D, d) -> (H, B, M, d) -> (B, M, H*d)
        heads = summed.transpose(0, 1).flatten(1, 2) @ value_matrix.mT
        out = heads.unflatten(1, (batch, queries)).permute(1, 2, 0, 3).flatten(2)
        if self.kv.bias is not None:
            out = out + self.kv.bias.chunk(2)[1]
        return cast(Tensor, self.proj(out))

    def forward(self, x: Tensor, context: Tensor, blocked: Tensor | None) -> Tensor:
        """Attention of x (B, M, D) to context (B, N, D), blocked (B, 1, 1 or M, N) or None -> (B, M, D)."""
        if self.foldable and is_folding_faster(x.shape[1], context.shape[1], x.shape[2], self.num_heads):
            return self.attend_folded(x, context, blocked)
        return self.attend_projected(x, context, blocked)


def _head_norms(config: FourMConfig) -> tuple[nn.Module, nn.Module]:
    """Layer norms for the queries and keys of one head, or two identities (without parameters)."""
    if not config.qk_norm:
        return nn.Identity(), nn.Identity()
    head_dim = config.dim // config.num_heads
    bias = config.norm_bias
    return LayerNorm(head_dim, learned_bias=bias), LayerNorm(head_dim, learned_bias=bias)


class EncoderBlock(nn.Module):
    """Pre-norm block: self-attention, then feed-forward, each added to its input."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        self.norm1 = LayerNorm(config.dim, learned_bias=config.norm_bias)
        self.attn = Attention(config)
        self.norm2 = LayerNorm(config.dim, learned_bias=config.norm_bias)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        """x (B, N, D), blocked (B, 1, 1, N) or None -> (B, N, D)."""
        x = x + self.attn(self.norm1(x), blocked)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class DecoderBlock(nn.Module):
    """Pre-norm block: self-attention, cross-attention, feed-forward, each added to its input."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        self.norm1 = LayerNorm(config.dim, learned_bias=config.norm_bias)
        self.self_attn = Attention(config)
        self.query_norm = LayerNorm(config.dim, learned_bias=config.norm_bias)
        self.context_norm = LayerNorm(config.dim, learned_bias=config.norm_bias)
        self.cross_attn = CrossAttention(config)
        self.norm2 = LayerNorm(config.dim, learned_bias=config.norm_bias)
        self.mlp = FeedForward(config)

    def forward(
        self, y: Tensor, context: Tensor, self_blocked: Tensor | None, context_blocked: Tensor | None
    ) -> Tensor:
        """y (B, M, D), context (B, N, D), self_blocked (B, 1, M, M), context_blocked (B, 1, 1, N) -> (B, M, D)."""
        y = y + self.self_attn(self.norm1(y), self_blocked)
        y = y + self.cross_attn(self.query_norm(y), self.context_norm(context), context_blocked)
        out: Tensor = y + self.mlp(self.norm2(y))
        return out
