"""Generating any modalities from any others with a 4M network.

    ids = SpecialIds.of(text_tokenizer)
    state = {
        "caption": given_sequence([text_tokenizer.encode("a red bus")], ids),
        "tok_clip@224": image_target(batch=1, tokens=196),
        "tok_rgb@224": image_target(batch=1, tokens=196),
    }
    clip = TargetPlan("tok_clip@224", Scheme.ROAR, tokens=196, steps=50, temperature=5.0, guidance=3.0)
    rgb = TargetPlan("tok_rgb@224", Scheme.MASKGIT, tokens=196, steps=25, token_schedule="cosine", temperature=3.0)
    steps = [*steps_of(clip, ["caption"]), *steps_of(rgb, ["caption", "tok_clip@224"])]
    state = generate(fourm, state, steps, ids, Options(top_p=0.8, seed=0))
    state["tok_rgb@224"].values  # int64 (1, 196)

Generated modalities become inputs of the steps that follow, even in another network. For super-resolution, pass the
state to the network for 448 pixels and add empty targets, such as `image_target(1, 784)` for `tok_rgb@448`. A network
ignores modalities that it does not take.

`schedule.py` decides what is decoded when and which passes a step makes, `run.py` what each pass sees and how a token
is drawn. ROAR and MaskGIT decode an image; they differ only in which places they decode and which tokens they keep. A
sequence is decoded token by token; the result then replaces the input's sentinels.
ROAR and chained generation: 4M (arXiv 2312.06647), MaskGIT: arXiv 2202.04200.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.errors import UnsupportedModality
from anyseek.model.generation.run import Observer, Options, Run, Unconditional
from anyseek.model.generation.schedule import Scheme, Step, combine
from anyseek.model.generation.state import ModalityState, State, given_sequence
from anyseek.model.modalities.formats.spans import SpecialIds, merge_spans
from anyseek.model.network.layers import DecoderBlock, attend
from anyseek.model.network.modality_embeddings import SequenceDecoderEmbedding
from anyseek.model.network.transformer import Context, FourM


@dataclass
class _BlockCache:
    """The context of a decoder block: `keys` and `values` (B, H, m, d) of the m tokens so far, and of the context."""

    keys: Tensor
    values: Tensor
    context_keys: Tensor
    context_values: Tensor


def together(contexts: Sequence[Context]) -> list[Context]:
    """One context of all rows of `contexts`, shorter ones padded on the right, or all apart where one is empty.

    An empty context adds nothing to the decoder; one that is padding alone might.
    """
    lengths = [context.states.shape[1] for context in contexts]
    if len(contexts) == 1 or min(lengths) == 0:
        return list(contexts)
    states, masks = [], []
    for context, length in zip(contexts, lengths, strict=True):
        more = max(lengths) - length
        mask = torch.zeros_like(context.states[:, :, 0], dtype=torch.bool) if context.mask is None else context.mask
        states.append(F.pad(context.states, (0, 0, 0, more)))
        masks.append(F.pad(mask, (0, more), value=True))
    mask = torch.cat(masks)
    return [Context(torch.cat(states), mask if mask.any() else None)]


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
        self._caches = []
        for block in self._blocks:
            context_keys, context_values = block.cross_attn.keys_values(block.context_norm(context.states))
            nothing = context_keys[:, :, :0]
            self._caches.append(_BlockCache(nothing, nothing, context_keys, context_values))
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


def decode_image_tokens(run: Run, index: int, step: Step, state: State) -> ModalityState:
    """The target's state after `step.tokens` more of its tokens were decoded, in all rows alike.

    ROAR decodes that many places in random order, the same for all rows of a sample; MaskGIT decodes all open places
    and keeps the surest tokens of each row.
    """
    target = state[step.target]
    open_places = int((~target.target_mask[0]).sum())  # as many in every row
    kept = min(open_places, step.tokens or 0)
    if step.scheme is Scheme.ROAR:
        order = run.order(*target.target_mask.shape)
    else:
        order = torch.arange(target.target_mask.shape[1], dtype=torch.float32, device=target.target_mask.device)
    logits: list[Tensor] = []
    for place in range(step.guidance.passes):
        seen = run.seen(place, step, state)
        ranked = torch.where(seen[step.target].target_mask, torch.inf, order)
        positions = ranked.argsort(dim=1, stable=True)[:, : kept if step.scheme is Scheme.ROAR else open_places]
        logits.append(_pass_logits(run, place, step, seen, positions))
        run.observe(index, step, positions, logits[-1])
    tokens, probabilities = run.sample(step, combine(logits, step.guidance))
    if step.scheme is Scheme.MASKGIT:
        if run.options.reference_faults and step.temperature == 0:
            probabilities = torch.ones_like(probabilities)
        surest = probabilities.topk(kept, dim=1).indices
        positions, tokens = positions.gather(1, surest), tokens.gather(1, surest)
    return target.written(positions, tokens)


def _pass_logits(run: Run, place: int, step: Step, seen: State, positions: Tensor) -> Tensor:
    """Logits (B, m, V) of pass number `place` at positions int64 (B, m)."""
    network, key, guidance = run.network, step.target, step.guidance
    last = bool(guidance.conditions) and place == len(guidance.terms)
    everything = torch.arange(seen[key].values.shape[1], device=positions.device)
    emptied = run.views.emptied(seen, guidance) if last and positions.shape[1] == len(everything) else None
    if emptied is None:
        return network.decode_image_tokens_at(run.views.context(place, seen, guidance), key, positions)

    def compute() -> Tensor:
        return network.decode_image_tokens_at(run.views.unconditional(seen, guidance), key, everything[None])[0]

    return run.unconditional.logits(key, emptied, compute)[positions]


@dataclass(frozen=True)
class _Wanted:
    """The tokens that a row's target entries ask for: those after `start`, at most `count` of them, up to and including
    `end`.
    """

    start: int
    end: int
    count: int

    def is_met(self, drawn: Sequence[int]) -> bool:
        return len(drawn) >= self.count or self.end in drawn

    def cut(self, drawn: Sequence[int]) -> list[int]:
        """The draws made before the row was done."""
        drawn = drawn[: self.count]
        return list(drawn[: drawn.index(self.end) + 1] if self.end in drawn else drawn)


def decode_sequence(run: Run, index: int, step: Step, state: State) -> ModalityState:
    """The target's state with everything decoded: each row the sequence that input and prediction make, all input."""
    target = state[step.target]
    target_rows = target.target_rows()
    if run.options.reference_faults:
        target_rows = [target_rows[0]] * len(target_rows)
    most = run.network.config.row(step.target).longest
    wanted = [_Wanted(row[0], row[-1], min(len(row), most)) for row in target_rows]
    longest = max(row.count for row in wanted)
    contexts = [run.views.context(place, state, step.guidance) for place in range(step.guidance.passes)]
    decoders = [PrefixDecoder(run.network, step.target, context, longest) for context in together(contexts)]
    passes = step.guidance.passes // len(decoders)
    tokens = torch.tensor([row.start for row in wanted], device=target.values.device)
    drawn: list[list[int]] = [[] for _ in wanted]
    while not all(row.is_met(new) for row, new in zip(wanted, drawn, strict=True)):
        position = torch.full((len(wanted), 1), len(drawn[0]), device=tokens.device)
        logits = [seen for decoder in decoders for seen in decoder.step(tokens.repeat(passes)).chunk(passes)]
        for seen in logits:
            run.observe(index, step, position, seen[:, None])
        tokens, _ = run.sample(step, combine(logits, step.guidance))
        for new, token in zip(drawn, tokens.tolist(), strict=True):
            new.append(token)
    if not run.options.reference_faults:
        drawn = [row.cut(new) for row, new in zip(wanted, drawn, strict=True)]
    rows = [
        merge_spans(inputs, [row.start, *new], run.ids)
        for inputs, row, new in zip(target.input_rows(), wanted, drawn, strict=True)
    ]
    return given_sequence(rows, run.ids).to(target.values.device)


@torch.inference_mode()
def generate(
    network: FourM,
    state: State,
    steps: Sequence[Step],
    ids: SpecialIds,
    options: Options | None = None,
    observe: Observer | None = None,
    unconditional: Unconditional | None = None,
) -> dict[str, ModalityState]:
    """Run the steps of a schedule and return the final state: every target is decoded and has become an input.

    `state` holds the inputs and the still empty targets by checkpoint key (`state.py` makes both); it
    stays as it is. `steps` come from `schedule.steps_of`, `ids` are the vocabulary's special ids. `observe` is told
    of every run of the decoder, which also serves to show progress. The encoder runs only where its input changed, and
    `unconditional` keeps what is alike in every call for the network.

    Every row of an image target has as many tokens to decode, every row of a sequence one or more. Raises
    `UnsupportedModality` where the network does not predict a target that way.
    """
    run = Run(network, ids, options or Options(), observe, unconditional or Unconditional())
    result = {key: entry.to(network.mask_token.device) for key, entry in state.items()}
    for index, step in enumerate(steps):
        decode = decode_sequence if step.scheme is Scheme.AUTOREGRESSIVE else decode_image_tokens
        run.begin(index, step)
        result[step.target] = decode(run, index, step, result)
    return result
