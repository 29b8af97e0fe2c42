"""Passes and operations of schedules, without computing anything.

What each pass sees is recorded while a network too small to matter runs the schedule; torch then counts the products of
such passes on the `meta` device.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from anyseek.model.fourm.plans import default_plan
from anyseek.model.fourm.published.modalities import inputs_of, targets_of
from anyseek.model.generation.decoding import PrefixDecoder
from anyseek.model.generation.generate import generate
from anyseek.model.generation.run import Options
from anyseek.model.generation.schedule import chain
from anyseek.model.generation.state import ModalityState, empty_target, given, given_sequence
from anyseek.model.generation.unconditional import Unconditional
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import Context, FourM
from benchmarks.model.timing import UNCOUNTED

IDS = SpecialIds(pad_id=0, end_id=3, sentinel_ids=tuple(range(4, 204)))
WORDS = tuple(range(4_300, 4_308))  # a caption of 8 tokens


@dataclass
class Passes:
    """Tokens that each run of the encoder saw, and of each of the decoder those decoded and those of its context."""

    encoder: list[int] = field(default_factory=list)
    decoder: list[tuple[int, int]] = field(default_factory=list)


class Recording(FourM):
    """A network that records its passes."""

    def __init__(self, config: FourMConfig) -> None:
        super().__init__(config)
        self.passes = Passes()

    def run_encoder(self, tokens: Any) -> Tensor:
        """See `FourM.run_encoder`."""
        self.passes.encoder.append(tokens.mask.shape[1])
        return super().run_encoder(tokens)

    def run_decoder(self, y: Tensor, context: Context, self_blocked: Tensor | None) -> Tensor:
        """See `FourM.run_decoder`."""
        self.passes.decoder.append((y.shape[1], context.states.shape[1]))
        return super().run_decoder(y, context, self_blocked)


class Counter:
    """Counts the GFLOP of passes of a network of the shape `config`, one sample at a time."""

    def __init__(self, config: FourMConfig) -> None:
        with torch.device("meta"):
            self._network = FourM(config).eval()
        self._encoder, self._decoder = lru_cache(None)(self._count_encoder), lru_cache(None)(self._count_decoder)

    def gflop(self, passes: Passes, key: str) -> float:
        """Of passes that decode `key`; embedding the inputs is left out (a photo: 0.2)."""
        encoded = sum(self._encoder(tokens) for tokens in passes.encoder)
        return encoded + sum(self._decoder(key, *tokens) for tokens in passes.decoder)

    def sequence(self, key: str, tokens: int, context: int) -> float:
        """Of a sequence of `tokens` tokens, each decoded on its own, after one run of the encoder."""
        config = self._network.config
        made: list[PrefixDecoder] = []
        empty = Context(self._empty(context), None)
        keys = _gflop_of(lambda: made.append(PrefixDecoder(self._network, key, empty, tokens)))
        step = _gflop_of(lambda: made[0].step(torch.zeros(1, dtype=torch.int64, device="meta")))
        of_a_key = 4 * config.dim * config.decoder_depth / 1e9  # what one more key costs self-attention
        return self._encoder(context) + keys + tokens * (step + of_a_key * (tokens - 1) / 2)

    def _empty(self, tokens: int) -> Tensor:
        return torch.empty(1, tokens, self._network.config.dim, device="meta")

    def _count_encoder(self, tokens: int) -> float:
        x, network = self._empty(tokens), self._network
        block = _gflop_of(lambda: network.encoder[0](x, None))
        return block * network.config.encoder_depth + _gflop_of(lambda: network.decoder_proj_context(x))

    def _count_decoder(self, key: str, queries: int, context: int) -> float:
        y, states, network = self._empty(queries), self._empty(context), self._network
        block = _gflop_of(lambda: network.decoder[0](y, states, None, None))
        return block * network.config.decoder_depth + _gflop_of(lambda: network.logits(key, y))


def schedules(config: FourMConfig, targets: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What each target takes with its default plan, or those that are named, from a photo and from words.

    `plain` runs every pass of every step, as the first such prediction of a process does; `later` is one after it.
    `ideal` has no unconditional passes, as if guidance cost nothing.
    """
    images = [row for row in map(config.row, config.domains_out) if row.is_image]
    small_rows = {row.key: replace(row, vocabulary=8) for row in images}
    shape = replace(config, dim=16, num_heads=1, encoder_depth=1, decoder_depth=1, modalities=small_rows)
    small = Recording(shape).eval()
    small.initialise(seed=0)
    counter = Counter(config)
    return [
        _schedule(small, counter, source, name)
        for source in ("rgb", "caption")
        for name in targets_of(config)
        if name != source and (targets is None or name in targets)
    ]


def _schedule(small: Recording, counter: Counter, source: str, name: str) -> dict[str, Any]:
    config = small.config
    row, key = config.row(targets_of(config)[name].key), inputs_of(config)[source].key
    plan = default_plan(name, row, [source])
    steps = chain([plan.of_target(row)], [key])
    told = {"from": source, "target": name, "scheme": str(plan.scheme), "steps": len(steps), "guidance": plan.guidance}
    if not row.is_image:
        context = config.row(key).tokens if source == "rgb" else len(WORDS)
        gflop = counter.sequence(row.key, row.longest, context)
        ways = dict.fromkeys(("plain", "later", "ideal"), (1, row.longest, gflop))
        return told | {"steps": row.longest} | ways
    state = {key: _given(config, key), row.key: empty_target(row, IDS)}
    kept = Unconditional()
    plain, later = (_run(small, state, steps, kept) for _ in range(2))
    ideal = _run(small, state, chain([replace(plan, guidance=1.0).of_target(row)], [key]), Unconditional())
    runs = {"plain": plain, "later": later, "ideal": ideal}
    return told | {
        way: (len(passes.encoder), len(passes.decoder), counter.gflop(passes, row.key)) for way, passes in runs.items()
    }


def _given(config: FourMConfig, key: str) -> ModalityState:
    if key == "caption":
        return given_sequence([WORDS], IDS)
    row = config.row(key)
    pixels = torch.zeros(1, row.channels, *(side * (row.patch or 1) for side in row.grid or (1, 1)))
    return given(pixels, torch.zeros(1, row.tokens, dtype=torch.bool))


def _run(small: Recording, state: dict[str, ModalityState], steps: Any, kept: Unconditional) -> Passes:
    small.passes = Passes()
    generate(small, state, steps, IDS, Options(seed=0), unconditional=kept)
    return small.passes


def _gflop_of(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9
