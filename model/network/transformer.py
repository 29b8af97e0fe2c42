"""The 4M encoder-decoder: from any subset of modalities to the token logits of any modality.

Two ways to run it:

- retrieval: `context = fourm.encode(inputs)` once, then `fourm.decode_global(context, targets)`;
- training: `losses = fourm(inputs, targets)`, then `losses.mean_over_modalities().backward()`.

B batch, N encoder tokens, M decoder tokens, D width, V vocabulary. Every mask is boolean and True means *not used*.
Modalities are concatenated in the order of the mappings passed in. "4M" and "4M-21" are arXiv 2312.06647 and
2406.09406; parameter names match the published checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.errors import UnsupportedModality
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.layers import DecoderBlock, EncoderBlock, LayerNorm
from anyseek.model.network.modality_embeddings import (
    DecoderEmbedding,
    EncoderEmbedding,
    ImageTokenDecoderEmbedding,
    SequenceDecoderEmbedding,
    decoder_embedding,
    encoder_embedding,
)
from anyseek.model.network.tokens import (
    DecoderTokens,
    EncoderTokens,
    ModalityInput,
    ModalityTarget,
    TargetPart,
    image_reach,
    select_inputs,
    select_targets,
)


@dataclass(frozen=True)
class Context:
    """The encoder's output for the decoder: `states` float (B, N, D), `mask` bool (B, N) or None if all are used."""

    states: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class Losses:
    """Cross-entropy and number of logit elements of each target modality; the loss of one without tokens is 0."""

    per_modality: dict[str, Tensor]
    elements: dict[str, int]

    def mean_over_modalities(self) -> Tensor:
        """The loss `mod`: the unweighted mean over all target modalities, including those without tokens."""
        return torch.stack(list(self.per_modality.values())).mean()

    def mean_over_tokens(self) -> Tensor:
        """The loss `token`: the mean weighted by logit elements (tokens x vocabulary)."""
        weighted = [loss * self.elements[key] for key, loss in self.per_modality.items()]
        return torch.stack(weighted).sum() / max(sum(self.elements.values()), 1)


class FourM(nn.Module):
    """The 4M network that `config` describes.

    Parameters have torch's defaults until `initialise` or a checkpoint sets them.
    """

    def __init__(self, config: FourMConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        if config.num_register_tokens:
            self.register_tokens = nn.Parameter(torch.zeros(1, config.num_register_tokens, dim))
        self.encoder_embeddings = nn.ModuleDict(
            {key: encoder_embedding(config.row(key), dim) for key in config.domains_in}
        )
        self.decoder_embeddings = nn.ModuleDict(
            {key: decoder_embedding(config.row(key), dim) for key in config.domains_out}
        )
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_depth))
        self.encoder_norm = LayerNorm(dim, learned_bias=config.norm_bias)
        self.decoder_proj_context = nn.Linear(dim, dim)
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_depth))
        self.decoder_norm = LayerNorm(dim, learned_bias=config.norm_bias)
        self.tie_parameters()

    def tie_parameters(self) -> None:
        """Tie the tensors that the config shares; call it again after replacing parameters."""
        for key in self.config.domains_out:
            decoder = self._decoder_embedding(key)
            if self.config.share_modality_embeddings and key in self.encoder_embeddings:
                decoder.mod_emb = self._encoder_embedding(key).mod_emb
            if self.config.tie_token_embeddings:
                decoder.to_logits.weight = decoder.token_emb.weight

    def initialise(self, seed: int) -> None:
        """Initialise all parameters for training, reproducibly for a seed.

        Xavier-uniform for linears (separately for queries, keys and values) with zero biases; normal with standard
        deviation 0.02 for embeddings, mask token, registers and learned positions; norms become the identity.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                matrices = {"qkv": 3, "kv": 2}.get(name.rpartition(".")[2], 1)
                for matrix in module.weight.data.chunk(matrices):
                    nn.init.xavier_uniform_(matrix, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            last = name.rpartition(".")[2]
            if last in ("mask_token", "register_tokens", "mod_emb", "pos_emb") or "token_emb" in name:
                nn.init.normal_(parameter, std=0.02, generator=generator)

    def encode(self, inputs: Mapping[str, ModalityInput], limit: int | None = None) -> Context:
        """Encode a batch once, for any number of targets.

        Only used tokens are encoded: as many as the fullest row has, at most `limit` unless it is None. Raises
        `UnsupportedModality` for a key outside `domains_in`.
        """
        tokens = self.embed_inputs(inputs, limit)
        return self.make_context(tokens, self.run_encoder(tokens))

    def embed_inputs(self, inputs: Mapping[str, ModalityInput], limit: int | None = None) -> EncoderTokens:
        """Embed each modality, select the used tokens in order, and prepend the registers."""
        parts = []
        for key, item in inputs.items():
            embed = self._encoder_embedding(key)
            content, embedding = embed(item.values, item.mask)
            parts.append((embed.row.identifier, content, embedding, item.mask))
        tokens = select_inputs(parts, limit)
        return self._prepend_registers(tokens) if self.config.num_register_tokens else tokens

    def _prepend_registers(self, tokens: EncoderTokens) -> EncoderTokens:
        batch, count = len(tokens.mask), self.config.num_register_tokens
        registers = self.register_tokens.expand(batch, -1, -1)
        return EncoderTokens(
            content=torch.cat((registers, tokens.content), dim=1),
            embedding=F.pad(tokens.embedding, (0, 0, count, 0)),
            mask=F.pad(tokens.mask, (count, 0), value=False),
            modality=F.pad(tokens.modality, (count, 0), value=-1),
        )

    def run_encoder(self, tokens: EncoderTokens) -> Tensor:
        """Encoder output after `encoder_norm`: (B, N, D)."""
        mask = tokens.attention_mask
        blocked = None if mask is None else mask[:, None, None, :]
        x = tokens.content + tokens.embedding
        for block in self.encoder:
            x = block(x, blocked)
        out: Tensor = self.encoder_norm(x)
        return out

    def make_context(self, tokens: EncoderTokens, encoded: Tensor) -> Context:
        """Project the encoder output for the decoder and add the position and modality embeddings again."""
        states = self.decoder_proj_context(encoded) + tokens.embedding
        return Context(states, tokens.attention_mask)

    def decode_global(self, context: Context, targets: Sequence[str]) -> dict[str, Tensor]:
        """Logits float (B, n, V) of all n tokens of each image-token target, predicted at once from mask tokens.

        Targets do not see each other, so the result for each does not depend on the others. Raises
        `UnsupportedModality` for a target without image tokens.
        """
        decoded = self.decode_image_tokens(context, targets)
        return {key: self.logits(key, part) for key, part in decoded.items()}

    def decode_image_tokens(self, context: Context, targets: Sequence[str]) -> dict[str, Tensor]:
        """Decoder output (B, n, D) for all n tokens of each image-token target; `decode_global` adds the logits."""
        embeddings = [self._image_target(key).grid_embedding(len(context.states)) for key in targets]
        y = self.mask_token + torch.cat(embeddings, dim=1)
        sizes = [embedding.shape[1] for embedding in embeddings]
        self_blocked = None
        if len(targets) > 1:
            target_index = torch.cat([torch.full((size,), index, device=y.device) for index, size in enumerate(sizes)])
            self_blocked = (target_index[:, None] != target_index[None, :])[None]
        decoded = torch.split(self.run_decoder(y, context, self_blocked), sizes, dim=1)
        return dict(zip(targets, decoded, strict=True))

    def decode_image_tokens_at(self, context: Context, key: str, positions: Tensor) -> Tensor:
        """Logits (B, m, V) of the image tokens of target `key` at positions int64 (B, m), predicted at once."""
        embedding = self._image_target(key).grid_embedding(len(positions))
        selected = embedding.gather(1, positions[..., None].expand(-1, -1, embedding.shape[-1]))
        return self.logits(key, self.run_decoder(self.mask_token + selected, context, None))

    def run_decoder(self, y: Tensor, context: Context, self_blocked: Tensor | None) -> Tensor:
        """Decoder output after `decoder_norm`: y (B, M, D), self_blocked bool (B or 1, M, M) or None -> (B, M, D)."""
        self_blocked = None if self_blocked is None else self_blocked[:, None]
        context_blocked = None if context.mask is None else context.mask[:, None, None, :]
        for block in self.decoder:
            y = block(y, context.states, self_blocked, context_blocked)
        out: Tensor = self.decoder_norm(y)
        return out

    def logits(self, key: str, decoded: Tensor) -> Tensor:
        """Logits of target `key` in the dtype of its `to_logits`: decoder output (..., D) -> (..., V)."""
        to_logits = self._decoder_embedding(key).to_logits
        out: Tensor = to_logits(decoded.to(to_logits.weight.dtype))
        return out

    def forward(
        self,
        inputs: Mapping[str, ModalityInput],
        targets: Mapping[str, ModalityTarget],
        encoder_tokens: int | None = None,
        decoder_tokens: int | None = None,
    ) -> Losses:
        """Losses of predicting `targets` from `inputs`; a limit keeps that many encoder or decoder tokens per row.

        Image tokens are predicted from mask tokens, sequences with teacher forcing.
        """
        context = self.encode(inputs, encoder_tokens)
        tokens = self.embed_targets(targets, decoder_tokens)
        decoded = self.run_decoder(tokens.content + tokens.embedding, context, tokens.self_blocked)
        return self.losses(decoded, tokens, targets)

    def embed_targets(self, targets: Mapping[str, ModalityTarget], limit: int | None = None) -> DecoderTokens:
        """Embed each target modality, select the used tokens in order and build the self-attention mask."""
        parts = [self._target_part(key, target) for key, target in targets.items()]
        config = self.config
        return select_targets(parts, limit, causal=config.decoder_causal_mask, separate=config.decoder_sep_mask)

    def _target_part(self, key: str, target: ModalityTarget) -> TargetPart:
        embed = self._decoder_embedding(key)
        identifier, ids, mask = embed.row.identifier, target.ids, target.mask
        if isinstance(embed, SequenceDecoderEmbedding):
            # teacher forcing: entry t is the input that predicts entry t + 1
            content, embedding = embed(ids, mask)
            unused = mask[:, 1:] | mask[:, :-1]
            reach = (~mask[:, :-1]).long()
            return TargetPart(identifier, content[:, :-1], embedding[:, :-1], unused, ids[:, 1:], reach)
        ids = ids.flatten(1)
        embedding = embed.grid_embedding(len(ids))
        content = self.mask_token.expand_as(embedding)
        return TargetPart(identifier, content, embedding, mask, ids, image_reach(mask))

    def losses(self, decoded: Tensor, tokens: DecoderTokens, keys: Sequence[str] | Mapping[str, object]) -> Losses:
        """Cross-entropy of each modality in `keys` over its selected tokens: decoded (B, M, D)."""
        per_modality, elements = {}, {}
        for key in keys:
            mask = tokens.modality == self._decoder_embedding(key).row.identifier
            logits = self.logits(key, decoded[mask])  # (tokens of key, V)
            elements[key] = logits.numel()
            loss = F.cross_entropy(logits.float(), tokens.target_ids[mask].long(), reduction="sum")
            per_modality[key] = loss / max(len(logits), 1)
        return Losses(per_modality, elements)

    def _encoder_embedding(self, key: str) -> EncoderEmbedding:
        if key not in self.encoder_embeddings:
            known = ", ".join(self.config.domains_in)
            raise UnsupportedModality(f"the network does not accept {key!r} as an input; its inputs are {known}")
        return cast(EncoderEmbedding, self.encoder_embeddings[key])

    def _decoder_embedding(self, key: str) -> DecoderEmbedding:
        if key not in self.decoder_embeddings:
            known = ", ".join(self.config.domains_out)
            raise UnsupportedModality(f"the network does not predict {key!r}; its targets are {known}")
        return cast(DecoderEmbedding, self.decoder_embeddings[key])

    def _image_target(self, key: str) -> ImageTokenDecoderEmbedding:
        embed = self._decoder_embedding(key)
        if isinstance(embed, SequenceDecoderEmbedding):
            raise UnsupportedModality(f"{key!r} is a sequence; only image-token targets can be decoded at once")
        return embed
