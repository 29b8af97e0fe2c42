"""The state that the steps of one call of `anyseek.model.generation.generate` share.

It holds the network, the options, the random numbers, and the encoded context of each pass of guided generation. A
context is encoded again only when its input changed; the unconditional pass is kept where it is a constant.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anyseek.model.errors import UnsupportedModality
from anyseek.model.generation.schedule import Guidance, Scheme, Step
from anyseek.model.generation.state import ModalityState, State, emptied
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import Context, FourM

_GREEDY = 1e-10  # temperatures below this take the likeliest token
_MOST_BYTES = 128 * 2**20  # all image targets of 4M-21 at 224 pixels take 65 MB for one kind of inputs

Inputs = Mapping[str, ModalityInput]


class Unconditional:
    """Keeps unconditional logits of one network, at most `most_bytes`; safe for several threads.

    Whoever changes the network's weights needs a new one.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], Tensor] = OrderedDict()

    def logits(self, target: str, emptied: tuple[str, ...], compute: Callable[[], Tensor]) -> Tensor:
        """Logits (n, V) of all n tokens of `target` where only the `emptied` sequences are left of the inputs.

        `compute` makes them the first time, and again after others took their place.
        """
        with self._lock:
            key = target, emptied
            if key not in self._kept:
                self._kept[key] = compute()
            self._kept.move_to_end(key)
            kept = self._kept[key]
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
        return kept


def filter_logits(logits: Tensor, top_k: int | float, top_p: float) -> Tensor:
    """Set the logits (..., V) that may not be drawn to minus infinity.

    `top_k` keeps that many of the largest, or that fraction of V if it is a float; 0 keeps all. `top_p` keeps the
    largest, up to and including the first at which the sum of their probabilities exceeds it; 0 keeps all.
    """
    vocabulary = logits.shape[-1]
    count = max(int(top_k * vocabulary), 1) if isinstance(top_k, float) and top_k > 0 else int(top_k)
    if count:
        least = logits.topk(min(count, vocabulary), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p:
        ordered, order = logits.sort(dim=-1, descending=True)
        exceeded = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
        # the first that exceeds is kept: shift by one
        dropped = exceeded.roll(1, dims=-1)
        dropped[..., 0] = False
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return logits


def sample(
    logits: Tensor, temperature: float, top_k: int | float, top_p: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One token for each row of logits (..., V), and the probability it was drawn with: int64 and float32 (...).

    At temperature 0 the token is the likeliest one and its probability that of temperature 1.
    """
    logits = logits.float()
    if temperature < _GREEDY:
        probabilities = logits.softmax(dim=-1)
        tokens = logits.argmax(dim=-1, keepdim=True)
    else:
        probabilities = (filter_logits(logits, top_k, top_p) / temperature).softmax(dim=-1)
        # (..., V) -> (rows, V) -> (rows, 1): torch draws from matrices only
        drawn = probabilities.flatten(0, -2).multinomial(1, generator=random)
        tokens = drawn.view(*logits.shape[:-1], 1)
    return tokens.squeeze(-1), probabilities.gather(-1, tokens).squeeze(-1)


class ViewEncoder:
    """Encodes a state with some conditions hidden, and keeps the last context of each pass."""

    def __init__(self, network: FourM, ids: SpecialIds) -> None:
        self._network, self._ids = network, ids
        self._kept: dict[int, tuple[Inputs, Context]] = {}

    def context(self, place: int, state: State, guidance: Guidance) -> Context:
        """The context of pass number `place` of a guided step, which sees `state` without some conditions.

        Raises `UnsupportedModality` where the state holds no modality that the network takes.
        """
        inputs = self._inputs(state, guidance.hidden(place), separate=guidance.separate)
        kept = self._kept.get(place)
        if kept is None or list(kept[0]) != list(inputs) or not all(map(_same, kept[0].values(), inputs.values())):
            kept = self._kept[place] = inputs, self._network.encode(inputs)
        return kept[1]

    def emptied(self, state: State, guidance: Guidance) -> tuple[str, ...] | None:
        """The sequences of which `[S_1]` remains in the pass that sees no condition; None where it sees more than that.

        With that, its context is the same in every row, whatever the inputs are.
        """
        config = self._network.config
        taken = [key for key in state if key in config.domains_in]
        seen = [key for key in taken if key not in guidance.conditions and not state[key].input_mask.all()]
        if not taken or seen:
            return None
        hidden = [key for key in taken if key in guidance.conditions and not guidance.separate]
        return tuple(key for key in hidden if not config.row(key).is_image)

    def unconditional(self, state: State, guidance: Guidance) -> Context:
        """The context of one row in the pass that sees no condition."""
        first = {key: entry.at(slice(1)) for key, entry in state.items()}
        return self._network.encode(self._inputs(first, guidance.conditions, separate=guidance.separate))

    def _inputs(self, state: State, hidden: frozenset[str], *, separate: bool) -> Inputs:
        """The encoder's inputs: modalities with an input entry, or one without any where there is no other."""
        config = self._network.config
        inputs = {}
        for key, entry in state.items():
            if key not in config.domains_in:
                continue
            if key not in hidden:
                inputs[key] = ModalityInput(entry.values, entry.input_mask)
            elif separate:
                inputs[key] = ModalityInput(entry.values, torch.ones_like(entry.input_mask))
            else:
                inputs[key] = emptied(entry, config.row(key).kind, self._ids)
        if not inputs:
            known = ", ".join(config.domains_in)
            raise UnsupportedModality(f"the network takes none of {', '.join(state)}; it takes {known}")
        used = {key: entry for key, entry in inputs.items() if not entry.mask.all()}
        first = next(iter(inputs))
        return used or {first: inputs[first]}


def _same(first: ModalityInput, second: ModalityInput) -> bool:
    return torch.equal(first.mask, second.mask) and torch.equal(first.values, second.values)


@dataclass(frozen=True)
class Options:
    """Options of drawing tokens.

    `top_k` and `top_p` as in `filter_logits`. With a `seed` a run is repeatable on the same kind of
    device; its step i draws with seed + i. The rows of a batch are those of `samples` samples, as many of each, one
    sample after the other; each draws the numbers that it would draw alone.

    `reference_faults` repeats the published implementation's mistakes, only for comparison with its recorded output:

    - with a weight for each condition it draws with the same seed at every step; and with ROAR its conditional passes
      never see the target's new tokens and decode other places than the unconditional pass;
    - MaskGIT at temperature 0 keeps arbitrary places instead of the surest;
    - all sequences of a batch begin and end with the tokens of the first one, and one that has ended goes on while
      another has not.
    """

    top_k: int | float = 0
    top_p: float = 0.0
    seed: int | None = None
    samples: int = 1
    reference_faults: bool = False


@dataclass(frozen=True)
class Pass:
    """One run of the decoder, for an observer.

    `step` is the step's place in the schedule, `positions` int64 (B, m) says which tokens of `target` were decoded,
    `logits` float (B, m, V) are those before guidance. With guidance the conditional passes come first.
    """

    step: int
    target: str
    positions: Tensor
    logits: Tensor


Observer = Callable[[Pass], None]


class Run:
    """One call of `generate`. `random` has a source of numbers for each sample, seeded anew for each step."""

    def __init__(
        self,
        network: FourM,
        ids: SpecialIds,
        options: Options,
        observe: Observer | None,
        unconditional: Unconditional,
    ) -> None:
        self.network, self.ids, self.options = network, ids, options
        self.views, self.unconditional = ViewEncoder(network, ids), unconditional
        self.random = [torch.Generator(network.mask_token.device) for _ in range(options.samples)]
        self._observe = observe
        self._untouched: dict[str, ModalityState] = {}

    def begin(self, index: int, step: Step) -> None:
        """Seed the random numbers of step number `index`."""
        options = self.options
        constant = options.reference_faults and step.guidance.separate
        for random in self.random:
            if options.seed is None:
                random.seed()
            else:
                random.manual_seed(options.seed if constant else options.seed + index)

    def sample(self, step: Step, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and their probabilities for logits (B, ..., V): int64 and float32 (B, ...)."""
        options, rows = self.options, logits.chunk(len(self.random))
        drawn = [
            sample(of_one, step.temperature, options.top_k, options.top_p, random)
            for of_one, random in zip(rows, self.random, strict=True)
        ]
        return torch.cat([tokens for tokens, _ in drawn]), torch.cat([probabilities for _, probabilities in drawn])

    def order(self, rows: int, places: int) -> Tensor:
        """Random numbers float (rows, places), the same in all rows of a sample."""
        drawn = [torch.rand(places, generator=random, device=random.device) for random in self.random]
        return torch.stack(drawn).repeat_interleave(rows // len(drawn), dim=0)

    def observe(self, index: int, step: Step, positions: Tensor, logits: Tensor) -> None:
        """Tell the observer of a pass."""
        if self._observe is not None:
            self._observe(Pass(index, step.target, positions, logits))

    def seen(self, place: int, step: Step, state: State) -> State:
        """The state that pass number `place` of a step sees: unchanged but for one fault of the reference."""
        untouched = self._untouched.setdefault(step.target, state[step.target])
        blind = self.options.reference_faults and step.guidance.separate and step.scheme is Scheme.ROAR
        conditional = place < len(step.guidance.terms)
        return {**state, step.target: untouched} if blind and conditional else state
