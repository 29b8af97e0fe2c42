"""Ways of predicting the same, timed in turns with one network of random weights."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from anyseek.model.fourm.plans import default_plan
from anyseek.model.generation.decoding import PrefixDecoder, together
from anyseek.model.generation.generate import generate
from anyseek.model.generation.run import Options
from anyseek.model.generation.schedule import chain
from anyseek.model.generation.state import empty_target, given
from anyseek.model.generation.unconditional import Unconditional
from anyseek.model.network.packing import pack_head
from anyseek.model.network.transformer import Context, FourM
from benchmarks.generation.counting import IDS
from benchmarks.model.networks import PLAIN, TARGET, Case, Networks, Variant

DEPTH, CAPTION = "tok_depth@224", "caption"
KEYS = ("rgb@224", CAPTION, DEPTH, TARGET)
_TOKENS = 8  # of a caption, decoded for the clock
_OPEN = 4  # tokens a step of a plan of 50
_SEEN = 100  # tokens that such a step sees half-way


@dataclass(frozen=True)
class Way:
    """One way to do `what`, for `samples` samples at once."""

    what: str
    how: str
    samples: int
    run: Callable[[], object]


class EightBits(nn.Module):
    """A linear layer whose weights are int8 with a scale for each output; it computes in bfloat16."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        self.weight, self.scale = (weight / scale[:, None]).round().to(torch.int8), scale.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """x bfloat16 (..., in) -> (..., out)."""
        out: Tensor = torch.ops.aten._weight_int8pack_mm(x.flatten(0, -2), self.weight, self.scale)
        return out.view(*x.shape[:-1], -1)


def timed(networks: Networks, photos: Sequence[int], captions: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    """Seconds of the processor for a sample of each way: median, least and most, all in turns.

    `photos` and `captions` are how many are predicted from, or written, together.
    """
    ways = [*_one_step(networks, photos), *_captions(networks, captions), *_guided_steps(networks)]
    for way in ways:
        way.run()
    rounds = [[_seconds(way.run) / way.samples for way in ways] for _ in range(repetitions)]
    return [
        {"what": way.what, "how": way.how, "samples": way.samples} | _spread([times[n] for times in rounds])
        for n, way in enumerate(ways)
    ]


def rounding(networks: Networks, rows: int) -> dict[str, dict[str, float]]:
    """How far the logits of a caption's tokens in bfloat16, and with int8 weights, are from float32."""
    context = _context(networks, rows)
    exact = _logits(_of(networks, "float32", CAPTION), context)
    best = exact.topk(2, dim=-1).values
    sure = best[..., 0] - best[..., 1] > 0.01
    found = {}
    for how, network in _less_exact(networks).items():
        logits = _logits(network, context)
        same = logits.argmax(dim=-1) == exact.argmax(dim=-1)
        cosine = torch.cosine_similarity(logits.flatten(0, 1), exact.flatten(0, 1), dim=1).min()
        told = {"tokens": sure.numel(), "sure": int(sure.sum()), "sure_and_same": int((same & sure).sum())}
        found[how] = told | {"least_cosine": float(cosine), "largest_difference": float((logits - exact).abs().max())}
    return found


def _one_step(networks: Networks, samples: Sequence[int]) -> list[Way]:
    """Depth from a photo, as by default: one guided step."""
    ways = []
    for count in samples:
        plain, packed, half = (_of(networks, how, DEPTH) for how in ("not packed", "float32", "bfloat16"))
        ways += [
            Way("depth from a photo", "float32, not packed, all passes", count, _depth(networks, plain, count, None)),
            Way("depth from a photo", "float32, all passes", count, _depth(networks, packed, count, None)),
            Way("depth from a photo", "float32", count, _depth(networks, packed, count, Unconditional())),
            Way("depth from a photo", "bfloat16", count, _depth(networks, half, count, Unconditional())),
        ]
    return ways


def _depth(networks: Networks, network: FourM, samples: int, kept: Unconditional | None) -> Callable[[], object]:
    config = networks.config
    pixels = networks.inputs(Case("rgb", samples, PLAIN))["rgb@224"]
    row = config.row(DEPTH)
    state = {
        "rgb@224": given(pixels.values.to(network.mask_token.dtype), pixels.mask),
        DEPTH: empty_target(row, IDS, samples),
    }
    steps = chain([default_plan("depth", row, ["rgb"]).of_target(row)], ["rgb@224"])
    options = Options(top_p=0.8, seed=0, samples=samples)
    return lambda: generate(network, state, steps, IDS, options, unconditional=kept)


def _captions(networks: Networks, samples: Sequence[int]) -> list[Way]:
    """Tokens of captions of photos, one by one."""
    ways = []
    for count in samples:
        context = _context(networks, count)
        exact = {how: _of(networks, how, CAPTION) for how in ("not packed", "float32")}
        for how, network in (exact | _less_exact(networks)).items():
            run = _speaking(network, context)
            ways.append(Way(f"{_TOKENS} tokens of a caption", how, count, run))
    return ways


def _speaking(network: FourM, context: Context) -> Callable[[], object]:
    return lambda: _logits(network, context)


def _logits(network: FourM, context: Context) -> Tensor:
    """Logits (B, n, V) after each of the tokens of a caption."""
    states = context.states.to(network.mask_token.dtype)
    decoder = PrefixDecoder(network, CAPTION, Context(states, None), _TOKENS)
    tokens = range(4_300, 4_300 + _TOKENS)
    return torch.stack([decoder.step(torch.full((len(states),), token)).float() for token in tokens], dim=1)


def _guided_steps(networks: Networks) -> list[Way]:
    """Both passes of a guided step: the decoder for a few open places, and a caption's tokens."""
    network = _of(networks, "float32", DEPTH)
    _ = _of(networks, "float32", CAPTION)
    random = torch.Generator().manual_seed(1)
    both = [
        Context(torch.randn(1, length, networks.config.dim, generator=random), None) for length in (_SEEN, _SEEN - 7)
    ]
    (joined,) = together(both)
    places = torch.arange(_OPEN)[None]

    def step(context: Context) -> Tensor:
        return network.decode_image_tokens_at(context, DEPTH, places.expand(len(context.states), -1))

    steps, words = f"a guided step of {_OPEN} places", f"{_TOKENS} tokens of a guided caption"
    return [
        Way(steps, "passes apart", 1, lambda: [step(context) for context in both]),
        Way(steps, "in one batch", 1, lambda: step(joined)),
        Way(words, "passes apart", 1, lambda: [_logits(network, context) for context in both]),
        Way(words, "in one batch", 1, lambda: _logits(network, replace(joined, mask=None))),
    ]


def _context(networks: Networks, samples: int) -> Context:
    """Random states as long as those of a photo."""
    random = torch.Generator().manual_seed(samples)
    return Context(torch.randn(samples, 196, networks.config.dim, generator=random), None)


def _of(networks: Networks, how: str, key: str) -> FourM:
    variants = {"not packed": Variant(packed=False), "float32": Variant(), "bfloat16": Variant("bfloat16")}
    network = networks.of(variants[how])
    if how != "not packed":
        pack_head(network, key)
    return network


def _less_exact(networks: Networks) -> dict[str, FourM]:
    half = _of(networks, "bfloat16", CAPTION)
    eight = networks.of(Variant("bfloat16", packed=False, folding=False))
    if not isinstance(eight.get_submodule("decoder.0.self_attn.qkv"), EightBits):
        pack_head(eight, CAPTION)
        _to_eight_bits(eight.decoder)
    return {"bfloat16": half, "int8 weights, bfloat16": eight}


def _to_eight_bits(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            # torch's kernel is wrong, or ends the process, for sizes that are no multiple of this
            fits = child.in_features % 64 == child.out_features % 64 == 0
            if fits and name != "kv":
                setattr(module, name, EightBits(child))
        else:
            _to_eight_bits(child)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start
