"""What the steps of one call of `model.generation.generate` share: the network, the options and the random numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import RequestInvalid
from model.formats.spans import SpecialIds
from model.generation.sampling import sample
from model.generation.schedule import Scheme, Step
from model.generation.state import ModalityState, State
from model.generation.view_encoder import ViewEncoder
from model.transformer import FourM


class GenerationInvalid(RequestInvalid):
    """A state and a schedule that do not belong together."""

    code = "generation-invalid"


@dataclass(frozen=True)
class Options:
    """How tokens are drawn.

    `top_k` and `top_p` as in `sampling.filter_logits`. With a `seed` a run is repeatable on the same kind of
    device; its step i draws with seed + i. `reference_faults` repeats what the published implementation gets wrong,
    only for comparison with its recorded output:

    - with a weight for each condition it draws with the same seed at every step; and with ROAR its conditional passes
      never see the target's new tokens and decode other places than the unconditional pass;
    - MaskGIT at temperature 0 keeps arbitrary places instead of the surest;
    - all sequences of a batch begin and end with the tokens of the first one, and one that has ended goes on while
      another has not.
    """

    top_k: int | float = 0
    top_p: float = 0.0
    seed: int | None = None
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
    """One call of `generate`. `random` is seeded anew for each step."""

    def __init__(self, network: FourM, ids: SpecialIds, options: Options, observe: Observer | None) -> None:
        self.network, self.ids, self.options = network, ids, options
        self.views = ViewEncoder(network, ids)
        self.random = torch.Generator(network.mask_token.device)
        self._observe = observe
        self._untouched: dict[str, ModalityState] = {}

    def begin(self, index: int, step: Step) -> None:
        """Seed the random numbers of step number `index`."""
        options = self.options
        if options.seed is None:
            self.random.seed()
        elif options.reference_faults and step.guidance.separate:
            self.random.manual_seed(options.seed)
        else:
            self.random.manual_seed(options.seed + index)

    def sample(self, step: Step, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and their probabilities for logits (..., V): int64 and float32 (...)."""
        return sample(logits, step.temperature, self.options.top_k, self.options.top_p, self.random)

    def observe(self, index: int, step: Step, positions: Tensor, logits: Tensor) -> None:
        """Tell the observer of a pass."""
        if self._observe is not None:
            self._observe(Pass(index, step.target, positions, logits))

    def seen(self, place: int, step: Step, state: State) -> State:
        """The state as pass number `place` of a step sees it: as it is, but for one fault of the reference."""
        untouched = self._untouched.setdefault(step.target, state[step.target])
        blind = self.options.reference_faults and step.guidance.separate and step.scheme is Scheme.ROAR
        conditional = place < len(step.guidance.terms)
        return {**state, step.target: untouched} if blind and conditional else state
