"""Generating any modalities from any others with a 4M network.

    ids = SpecialIds.of(text_tokenizer)
    state = {
        "caption": sequence_input([text_tokenizer.encode("a red bus")], ids),
        "tok_clip@224": image_target(batch=1, tokens=196),
        "tok_rgb@224": image_target(batch=1, tokens=196),
    }
    clip = TargetPlan("tok_clip@224", Scheme.ROAR, tokens=196, steps=50, temperature=5.0, guidance=3.0)
    rgb = TargetPlan("tok_rgb@224", Scheme.MASKGIT, tokens=196, steps=25, token_schedule="cosine", temperature=3.0)
    steps = [*steps_of(clip, ["caption"]), *steps_of(rgb, ["caption", "tok_clip@224"])]
    state = generate(fourm, state, steps, ids, SamplingOptions(top_p=0.8, seed=0))
    state["tok_rgb@224"].values  # int64 (1, 196)

Generated modalities become inputs of the steps that follow, even in another network. For super-resolution, pass the
state to the network for 448 pixels and add empty targets, such as `image_target(1, 784)` for `tok_rgb@448`. A network
ignores modalities that it does not take.

`schedule.py` plans the steps and their passes; `run.py` encodes the context of each pass and samples tokens. ROAR and
MaskGIT decode an image; they differ only in which positions they decode and which tokens they keep. A sequence is
decoded token by token; the result then replaces the input's sentinels.
ROAR and chained generation: 4M (arXiv 2312.06647), MaskGIT: arXiv 2202.04200.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.errors import UnsupportedModality
from anyseek.model.generation.run import Observer, Run, SamplingOptions, UnconditionalCache
from anyseek.model.generation.schedule import Scheme, Step, combine
from anyseek.model.generation.state import ModalityState, State, sequence_input
from anyseek.model.modalities.formats.spans import SpecialIds, merge_spans
from anyseek.model.network.layers import DecoderBlock, attend
from anyseek.model.network.modality_embeddings import SequenceDecoderEmbedding
from anyseek.model.network.transformer import Context, FourM


@dataclass
class _BlockCache:
    """KV cache of a decoder block: keys and values (B, H, m, d) of the m tokens so far, and those of the context."""

    keys: Tensor
    values: Tensor
    context_keys: Tensor
    context_values: Tensor


def merge_contexts(contexts: Sequence[Context]) -> list[Context]:
    """Concatenate the rows of `contexts` into one, padded on the right; unchanged if one of them is empty.

    An empty context adds nothing to the decoder; a context of padding alone might.
    """
    lengths = [context.states.shape[1] for context in contexts]
    if len(contexts) == 1 or min(lengths) == 0:
        return list(contexts)
    states, masks = [], []
    for context, length in zip(contexts, lengths, strict=True):
        padding = max(lengths) - length
        mask = torch.zeros_like(context.states[:, :, 0], dtype=torch.bool) if context.mask is None else context.mask
        states.append(F.pad(context.states, (0, 0, 0, padding)))
        masks.append(F.pad(mask, (0, padding), value=True))
    mask = torch.cat(masks)
    return [Context(torch.cat(states), mask if mask.any() else None)]


class PrefixDecoder:
    """Incremental decoder of sequence `key` with a KV cache, for at most `longest` tokens.

    Equivalent to running the decoder over the whole prefix with a causal mask, since a token's keys and values do not
    depend on later tokens. Raises `UnsupportedModality` if `key` is no sequence that the network predicts.
    """

    def __init__(self, network: FourM, key: str, context: Context, longest: int) -> None:
        embed = network.decoder_embeddings[key] if key in network.config.domains_out else None
        if not isinstance(embed, SequenceDecoderEmbedding):
            raise UnsupportedModality(f"the network predicts no sequence {key!r}")
        batch = len(context.states)
        self._network, self._key, self._embed = network, key, embed
        mask = torch.zeros(batch, longest, dtype=torch.bool, device=context.states.device)
        self._positions = embed.sequence_embedding(mask, embed.row.max_length)
        self._context_blocked = None if context.mask is None else context.mask[:, None, None, :]
        self._blocks = [cast(DecoderBlock, block) for block in network.decoder]
        self._caches = []
        for block in self._blocks:
            context_keys, context_values = block.cross_attn.keys_values(block.context_norm(context.states))
            no_keys = context_keys[:, :, :0]
            self._caches.append(_BlockCache(no_keys, no_keys, context_keys, context_values))
        self._count = 0

    def step(self, tokens: Tensor) -> Tensor:
        """Append the next token of each row, int64 (B,), and return the logits (B, V) of the token after it."""
        y = self._embed.token_emb(tokens[:, None]) + self._positions[:, self._count, None]
        self._count += 1
        for block, cache in zip(self._blocks, self._caches, strict=True):
            y = self._run_block(block, cache, y)
        return self._network.logits(self._key, self._network.decoder_norm(y)).squeeze(1)

    def _run_block(self, block: DecoderBlock, cache: _BlockCache, y: Tensor) -> Tensor:
        """`DecoderBlock.forward` of one token y (B, 1, D), with cached keys and values of the earlier tokens."""
        query, key, value = block.self_attn.project_heads(block.norm1(y))
        cache.keys = torch.cat((cache.keys, key), dim=2)
        cache.values = torch.cat((cache.values, value), dim=2)
        y = y + block.self_attn.proj(attend(query, cache.keys, cache.values, None))
        y = y + block.cross_attn.attend_to(
            block.query_norm(y), cache.context_keys, cache.context_values, self._context_blocked
        )
        out: Tensor = y + block.mlp(block.norm2(y))
        return out


def decode_image_tokens(run: Run, index: int, step: Step, state: State) -> ModalityState:
    """The target's state with `step.tokens` more of its tokens decoded in every row.

    ROAR decodes that many positions in random order, the same for all rows of a sample; MaskGIT decodes all open
    positions and keeps the most probable tokens of each row.
    """
    target = state[step.target]
    open_positions = int((~target.target_mask[0]).sum())  # the same number in every row
    count = min(open_positions, step.tokens or 0)
    if step.scheme is Scheme.ROAR:
        order = run.random_order(*target.target_mask.shape)
    else:
        order = torch.arange(target.target_mask.shape[1], dtype=torch.float32, device=target.target_mask.device)
    logits: list[Tensor] = []
    for pass_index in range(step.guidance.passes):
        visible = run.visible_state(pass_index, step, state)
        ranked = torch.where(visible[step.target].target_mask, torch.inf, order)
        positions = ranked.argsort(dim=1, stable=True)[:, : count if step.scheme is Scheme.ROAR else open_positions]
        logits.append(_pass_logits(run, pass_index, step, visible, positions))
        run.observe(index, step, positions, logits[-1])
    tokens, probabilities = run.sample(step, combine(logits, step.guidance))
    if step.scheme is Scheme.MASKGIT:
        if run.options.reference_faults and step.temperature == 0:
            probabilities = torch.ones_like(probabilities)
        best = probabilities.topk(count, dim=1).indices
        positions, tokens = positions.gather(1, best), tokens.gather(1, best)
    return target.with_tokens(positions, tokens)


def _pass_logits(run: Run, pass_index: int, step: Step, visible: State, positions: Tensor) -> Tensor:
    """Logits (B, m, V) of pass number `pass_index` at positions int64 (B, m)."""
    network, key, guidance = run.network, step.target, step.guidance
    last = bool(guidance.conditions) and pass_index == len(guidance.terms)
    all_positions = torch.arange(visible[key].values.shape[1], device=positions.device)
    decodes_all = positions.shape[1] == len(all_positions)
    emptied = run.views.emptied_sequences(visible, guidance) if last and decodes_all else None
    if emptied is None:
        return network.decode_image_tokens_at(run.views.context(pass_index, visible, guidance), key, positions)

    def compute() -> Tensor:
        context = run.views.unconditional_context(visible, guidance)
        return network.decode_image_tokens_at(context, key, all_positions[None])[0]

    return run.unconditional.logits(key, emptied, compute)[positions]


@dataclass(frozen=True)
class _RowTarget:
    """The tokens to decode for one row: at most `count` after `start`, up to and including `end`."""

    start: int
    end: int
    count: int

    def is_complete(self, sampled: Sequence[int]) -> bool:
        return len(sampled) >= self.count or self.end in sampled

    def truncate(self, sampled: Sequence[int]) -> list[int]:
        """The tokens up to the end of the row."""
        sampled = sampled[: self.count]
        return list(sampled[: sampled.index(self.end) + 1] if self.end in sampled else sampled)


def decode_sequence(run: Run, index: int, step: Step, state: State) -> ModalityState:
    """The target's state with everything decoded: each row is input and prediction merged, all of it input."""
    target = state[step.target]
    target_rows = target.target_rows()
    if run.options.reference_faults:
        target_rows = [target_rows[0]] * len(target_rows)
    limit = run.network.config.row(step.target).longest
    row_targets = [_RowTarget(row[0], row[-1], min(len(row), limit)) for row in target_rows]
    longest = max(row.count for row in row_targets)
    contexts = [run.views.context(pass_index, state, step.guidance) for pass_index in range(step.guidance.passes)]
    decoders = [PrefixDecoder(run.network, step.target, context, longest) for context in merge_contexts(contexts)]
    passes = step.guidance.passes // len(decoders)
    tokens = torch.tensor([row.start for row in row_targets], device=target.values.device)
    sampled: list[list[int]] = [[] for _ in row_targets]
    while not all(row.is_complete(new) for row, new in zip(row_targets, sampled, strict=True)):
        position = torch.full((len(row_targets), 1), len(sampled[0]), device=tokens.device)
        logits = [chunk for decoder in decoders for chunk in decoder.step(tokens.repeat(passes)).chunk(passes)]
        for pass_logits in logits:
            run.observe(index, step, position, pass_logits[:, None])
        tokens, _ = run.sample(step, combine(logits, step.guidance))
        for new, token in zip(sampled, tokens.tolist(), strict=True):
            new.append(token)
    if not run.options.reference_faults:
        sampled = [row.truncate(new) for row, new in zip(row_targets, sampled, strict=True)]
    rows = [
        merge_spans(inputs, [row.start, *new], run.ids)
        for inputs, row, new in zip(target.input_rows(), row_targets, sampled, strict=True)
    ]
    return sequence_input(rows, run.ids).to(target.values.device)


@torch.inference_mode()
def generate(
    network: FourM,
    state: State,
    steps: Sequence[Step],
    ids: SpecialIds,
    options: SamplingOptions | None = None,
    observe: Observer | None = None,
    unconditional: UnconditionalCache | None = None,
) -> dict[str, ModalityState]:
    """Run the steps of a schedule and return the final state: every target is decoded and has become an input.

    `state` holds the inputs and the empty targets by checkpoint key (`state.py` makes both) and is not changed. `steps`
    come from `schedule.steps_of`, `ids` are the vocabulary's special ids. `observe` is called after every run of the
    decoder, for instance to show progress. The encoder runs only when its input changed; `unconditional` caches
    unconditional logits across calls for the same network.

    All rows of an image target have the same number of tokens to decode, each row of a sequence one or more. Raises
    `UnsupportedModality` if the network does not predict a target with its scheme.
    """
    run = Run(network, ids, options or SamplingOptions(), observe, unconditional or UnconditionalCache())
    result = {key: entry.to(network.mask_token.device) for key, entry in state.items()}
    for index, step in enumerate(steps):
        decode = decode_sequence if step.scheme is Scheme.AUTOREGRESSIVE else decode_image_tokens
        run.seed_step(index, step)
        result[step.target] = decode(run, index, step, result)
    return result
