"""Decoding a sequence token by token: each step computes the new token only and keeps its keys and values."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from model.embedder import UnsupportedModality
from model.layers import DecoderBlock, attend
from model.modality_embeddings import SequenceDecoderEmbedding
from model.transformer import Context, FourM


@dataclass
class _BlockCache:
    """What a decoder block attends to: `keys` and `values` (B, H, m, d) of the m tokens so far, and of the context."""

    keys: Tensor
    values: Tensor
    context_keys: Tensor
    context_values: Tensor


class PrefixDecoder:
    """Logits of the next token of sequence `key`, one token at a time, for at most `longest` tokens.

    The same as running the decoder over the whole prefix with a causal mask: a token's keys and values do not depend on
    what follows it. Raises `UnsupportedModality` where `key` is no sequence that the network predicts.
    """

    def __init__(self, network: FourM, key: str, context: Context, longest: int) -> None:
        embed = network.decoder_embeddings[key] if key in network.config.domains_out else None
        if not isinstance(embed, SequenceDecoderEmbedding):
            raise UnsupportedModality(f"the network predicts no sequence {key!r}")
        batch = len(context.states)
        self._network, self._key, self._embed = network, key, embed
        everything = torch.zeros(batch, longest, dtype=torch.bool, device=context.states.device)
        self._positions = embed.sequence_embedding(everything, embed.row.max_length)
        self._context_blocked = None if context.mask is None else context.mask[:, None, None, :]
        self._blocks = [cast(DecoderBlock, block) for block in network.decoder]
        self._caches = [_empty_cache(block, context) for block in self._blocks]
        self._count = 0

    def step(self, tokens: Tensor) -> Tensor:
        """Take the next token of each row, int64 (B,), and give the logits (B, V) of the one after it."""
        y = self._embed.token_emb(tokens[:, None]) + self._positions[:, self._count, None]
        self._count += 1
        for block, cache in zip(self._blocks, self._caches, strict=True):
            y = self._run_block(block, cache, y)
        return self._network.logits(self._key, self._network.decoder_norm(y)).squeeze(1)

    def _run_block(self, block: DecoderBlock, cache: _BlockCache, y: Tensor) -> Tensor:
        """`DecoderBlock.forward` of one token y (B, 1, D) with the keys and values of those before it."""
        query, key, value = block.self_attn.heads(block.norm1(y))
        cache.keys = torch.cat((cache.keys, key), dim=2)
        cache.values = torch.cat((cache.values, value), dim=2)
        y = y + block.self_attn.proj(attend(query, cache.keys, cache.values, None))
        y = y + block.cross_attn.attend_to(
            block.query_norm(y), cache.context_keys, cache.context_values, self._context_blocked
        )
        out: Tensor = y + block.mlp(block.norm2(y))
        return out


def _empty_cache(block: DecoderBlock, context: Context) -> _BlockCache:
    context_keys, context_values = block.cross_attn.keys_values(block.context_norm(context.states))
    nothing = context_keys[:, :, :0]
    return _BlockCache(nothing, nothing, context_keys, context_values)
