"""State shared by the steps of one call of `anyseek.model.generation.generate`.

It holds the network, the options, the random generators, and the encoded context of each pass of guided generation. A
context is encoded again only when its input changed; the unconditional pass is cached where it is constant.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anyseek.model.errors import UnsupportedModality
from anyseek.model.generation.schedule import Guidance, Scheme, Step
from anyseek.model.generation.state import ModalityState, State, empty_input
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import Context, FourM

_GREEDY = 1e-10  # temperatures below this select the most probable token
_MAX_BYTES = 128 * 2**20  # all image targets of 4M-21 at 224 pixels take 65 MB for one set of emptied sequences

Inputs = Mapping[str, ModalityInput]


class UnconditionalCache:
    """Thread-safe LRU cache of one network's unconditional logits, of at most `max_bytes`.

    A change of the network's weights needs a new cache.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, tuple[str, ...]], Tensor] = OrderedDict()

    def logits(self, target: str, emptied: tuple[str, ...], compute: Callable[[], Tensor]) -> Tensor:
        """Logits (n, V) of all n tokens of `target`, given only the emptied sequences `emptied`.

        `compute` makes them on a cache miss.
        """
        with self._lock:
            key = target, emptied
            if key not in self._cache:
                self._cache[key] = compute()
            self._cache.move_to_end(key)
            logits = self._cache[key]
            while len(self._cache) > 1 and sum(entry.nbytes for entry in self._cache.values()) > self._max_bytes:
                self._cache.popitem(last=False)
        return logits


def filter_logits(logits: Tensor, top_k: int | float, top_p: float) -> Tensor:
    """Top-k and nucleus filtering: logits (..., V) that may not be sampled become minus infinity.

    `top_k` keeps that many of the largest logits, or that fraction of V if it is a float; 0 keeps all. `top_p` keeps
    the largest, up to and including the first at which their cumulative probability exceeds it; 0 keeps all.
    """
    vocabulary = logits.shape[-1]
    count = max(int(top_k * vocabulary), 1) if isinstance(top_k, float) and top_k > 0 else int(top_k)
    if count:
        threshold = logits.topk(min(count, vocabulary), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
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
    """Sample a token for each row of logits (..., V); returns tokens int64 and their probabilities float32 (...).

    Temperature 0 selects the most probable token, with its probability at temperature 1.
    """
    logits = logits.float()
    if temperature < _GREEDY:
        probabilities = logits.softmax(dim=-1)
        tokens = logits.argmax(dim=-1, keepdim=True)
    else:
        probabilities = (filter_logits(logits, top_k, top_p) / temperature).softmax(dim=-1)
        # (..., V) -> (rows, V) -> (rows, 1): torch draws from matrices only
        sampled = probabilities.flatten(0, -2).multinomial(1, generator=random)
        tokens = sampled.view(*logits.shape[:-1], 1)
    return tokens.squeeze(-1), probabilities.gather(-1, tokens).squeeze(-1)


class ViewEncoder:
    """Encodes the state that each pass sees, and caches the last context of each pass."""

    def __init__(self, network: FourM, ids: SpecialIds) -> None:
        self._network, self._ids = network, ids
        self._cache: dict[int, tuple[Inputs, Context]] = {}

    def context(self, pass_index: int, state: State, guidance: Guidance) -> Context:
        """The context of pass number `pass_index` of a guided step: `state` without the conditions hidden from it.

        Raises `UnsupportedModality` if the state holds no modality that the network takes.
        """
        inputs = self._encoder_inputs(state, guidance.hidden_conditions(pass_index), separate=guidance.separate)
        cached = self._cache.get(pass_index)
        if not (cached and list(cached[0]) == list(inputs) and all(map(_equal, cached[0].values(), inputs.values()))):
            cached = self._cache[pass_index] = inputs, self._network.encode(inputs)
        return cached[1]

    def emptied_sequences(self, state: State, guidance: Guidance) -> tuple[str, ...] | None:
        """Keys of the sequences reduced to `[S_1]` in the unconditional pass; None if that pass sees other inputs.

        If it sees nothing else, its context is the same in every row and for all inputs.
        """
        config = self._network.config
        keys = [key for key in state if key in config.domains_in]
        visible = [key for key in keys if key not in guidance.conditions and not state[key].input_mask.all()]
        if not keys or visible:
            return None
        hidden = [key for key in keys if key in guidance.conditions and not guidance.separate]
        return tuple(key for key in hidden if not config.row(key).is_image)

    def unconditional_context(self, state: State, guidance: Guidance) -> Context:
        """The context of one row in the unconditional pass."""
        first = {key: entry.select(slice(1)) for key, entry in state.items()}
        return self._network.encode(self._encoder_inputs(first, guidance.conditions, separate=guidance.separate))

    def _encoder_inputs(self, state: State, hidden: frozenset[str], *, separate: bool) -> Inputs:
        """The encoder's inputs: modalities with a used entry, or the first modality if none has any."""
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
                inputs[key] = empty_input(entry, config.row(key).kind, self._ids)
        if not inputs:
            known = ", ".join(config.domains_in)
            raise UnsupportedModality(f"the network takes none of {', '.join(state)}; it takes {known}")
        used = {key: entry for key, entry in inputs.items() if not entry.mask.all()}
        first = next(iter(inputs))
        return used or {first: inputs[first]}


def _equal(first: ModalityInput, second: ModalityInput) -> bool:
    return torch.equal(first.mask, second.mask) and torch.equal(first.values, second.values)


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling tokens.

    `top_k` and `top_p` as in `filter_logits`. With a `seed` a run is repeatable on the same kind of device; step i uses
    seed + i. The rows of a batch belong to `samples` samples in order, the same number each; every sample uses the
    random numbers that it would use in a batch of its own.

    `reference_faults` repeats the published implementation's mistakes, only for comparison with its recorded output:

    - with a weight for each condition, every step uses the same seed; and with ROAR the conditional passes never see
      the target's new tokens and decode other positions than the unconditional pass;
    - MaskGIT at temperature 0 keeps arbitrary positions instead of the most probable ones;
    - all sequences of a batch begin and end with the tokens of the first one, and a finished sequence continues until
      all are finished.
    """

    top_k: int | float = 0
    top_p: float = 0.0
    seed: int | None = None
    samples: int = 1
    reference_faults: bool = False


@dataclass(frozen=True)
class DecoderPass:
    """One run of the decoder, for an observer.

    `step` is the step's index in the schedule, `positions` int64 (B, m) are those of the decoded tokens of `target`,
    `logits` float (B, m, V) precede guidance. With guidance the conditional passes come first.
    """

    step: int
    target: str
    positions: Tensor
    logits: Tensor


Observer = Callable[[DecoderPass], None]


class Run:
    """One call of `generate`; `random` holds a generator for each sample, which is reseeded for each step."""

    def __init__(
        self,
        network: FourM,
        ids: SpecialIds,
        options: SamplingOptions,
        observe: Observer | None,
        unconditional: UnconditionalCache,
    ) -> None:
        self.network, self.ids, self.options = network, ids, options
        self.views, self.unconditional = ViewEncoder(network, ids), unconditional
        self.random = [torch.Generator(network.mask_token.device) for _ in range(options.samples)]
        self._observe = observe
        self._initial_targets: dict[str, ModalityState] = {}

    def seed_step(self, index: int, step: Step) -> None:
        """Seed the generators for step number `index`."""
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
        sampled = [
            sample(sample_logits, step.temperature, options.top_k, options.top_p, random)
            for sample_logits, random in zip(rows, self.random, strict=True)
        ]
        return torch.cat([tokens for tokens, _ in sampled]), torch.cat([probabilities for _, probabilities in sampled])

    def random_order(self, rows: int, positions: int) -> Tensor:
        """Random sort keys float (rows, positions), the same in all rows of a sample."""
        keys = [torch.rand(positions, generator=random, device=random.device) for random in self.random]
        return torch.stack(keys).repeat_interleave(rows // len(keys), dim=0)

    def observe(self, index: int, step: Step, positions: Tensor, logits: Tensor) -> None:
        """Report a pass to the observer."""
        if self._observe is not None:
            self._observe(DecoderPass(index, step.target, positions, logits))

    def visible_state(self, pass_index: int, step: Step, state: State) -> State:
        """The state that pass number `pass_index` of a step sees: `state`, except with one fault of the reference."""
        initial = self._initial_targets.setdefault(step.target, state[step.target])
        hides_target = self.options.reference_faults and step.guidance.separate and step.scheme is Scheme.ROAR
        is_conditional = pass_index < len(step.guidance.terms)
        return {**state, step.target: initial} if hides_target and is_conditional else state
