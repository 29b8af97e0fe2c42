"""4M's masking: how many tokens of each modality are input and target, and which ones.

A sample draws a component of the mixture, then a total of input tokens and a total of target tokens. A Dirichlet draw
shares out each total, rounded down; the remaining tokens go one by one to the largest share of fresh draws. Every share
is then cut to what the modality has, and the targets on a grid to what the inputs leave of it; nothing is shared out
again. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.formats.layout import Budgets, Keep, lay_out
from anyseek.model.modalities.formats.spans import SpecialIds, TextStates, mask_states
from anyseek.model.training.pretraining.config import Mixture, Range, TrainedModality
from anyseek.model.training.pretraining.plan import PlannedModality

_KEEP_DECAY = 0.9  # by which the share of kept vectors shrinks while there are too many

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Draw:
    """What one sample gives and predicts of each modality, in their order: tokens, and how its chunks are kept."""

    input: IntArray
    target: IntArray
    keep: tuple[Keep, ...]


class Masker:
    """Draws budgets for samples of the planned modalities.

    Where `needs_target` is False, a component without a target among what a sample has is as good as any other.
    """

    def __init__(self, modalities: Sequence[PlannedModality], mixture: Mixture, *, needs_target: bool = True) -> None:
        self._needs_target = needs_target
        settings = [modality.settings for modality in modalities]
        self._mixture = mixture
        self._keep = [tuple(modality.keep[n] for modality in settings) for n in range(len(mixture.weights))]
        self._inputs = _concentrations(settings, [modality.input for modality in settings], len(mixture.weights))
        self._targets = _concentrations(settings, [modality.target for modality in settings], len(mixture.weights))
        self._largest = np.array([modality.max_tokens for modality in modalities], np.int64)
        self._sequence = np.array([modality.kind.is_sequence for modality in settings])

    def draw(self, available: BoolArray, generator: np.random.Generator) -> Draw | None:
        """Budgets for a sample that has the `available` (m,) modalities; None if no component has an input and a
        target among them.

        Components that the sample cannot serve are left out of the mixture.
        """
        inputs, targets = self._inputs * available, self._targets * available
        weights = np.array(self._mixture.weights) * inputs.any(axis=1)
        if self._needs_target:
            weights = weights * targets.any(axis=1)
        if not weights.any():
            return None
        component = int(generator.choice(len(weights), p=weights / weights.sum()))
        given = share_out(_total(self._mixture.input_tokens, generator), inputs[component], generator)
        given = np.minimum(given, self._largest)
        predicted = share_out(_total(self._mixture.target_tokens, generator), targets[component], generator)
        left = np.where(self._sequence, self._largest, self._largest - given)
        return Draw(given, np.minimum(predicted, left), self._keep[component])


def _concentrations(
    settings: Sequence[TrainedModality], values: Sequence[tuple[float, ...]], components: int
) -> npt.NDArray[np.float64]:
    """Dirichlet concentrations (components, m), 0 for what takes no part."""
    table = [own or (0.0,) * components for own in values]
    return np.array(table, np.float64).reshape(len(settings), components).T


def _total(tokens: Range, generator: np.random.Generator) -> int:
    return int(generator.integers(tokens.least, tokens.most + 1))


def share_out(total: int, concentrations: npt.NDArray[np.float64], generator: np.random.Generator) -> IntArray:
    """Split `total` tokens by Dirichlet `concentrations` (m,); those of 0 get nothing: (m,)."""
    shares = np.zeros(len(concentrations), np.int64)
    taking = np.flatnonzero(concentrations)
    if not taking.size:
        return shares
    chosen = concentrations[taking]
    shares[taking] = np.floor(generator.dirichlet(chosen) * total)
    for _ in range(total - int(shares.sum())):
        shares[taking[int(generator.dirichlet(chosen).argmax())]] += 1
    return shares


def mask_grid(tokens: int, given: int, predicted: int, generator: np.random.Generator) -> tuple[BoolArray, BoolArray]:
    """Input and target mask (tokens,) of a grid, True is not used: the first of a random order, and the next ones."""
    order = generator.permutation(tokens)
    input_mask, target_mask = np.ones(tokens, np.bool_), np.ones(tokens, np.bool_)
    input_mask[order[:given]] = False
    target_mask[order[given : given + predicted]] = False
    return input_mask, target_mask


def mask_text(
    chunks: Sequence[Sequence[int]], budgets: Budgets, keep: Keep, ids: SpecialIds, generator: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Input and target ids of a sequence whose chunks end with `[EOS]`, each within its budget."""
    layout = lay_out(chunks, budgets, keep.draw(generator), ids, generator)
    return layout.ids[~layout.input_mask], layout.ids[~layout.target_mask]


def mask_vectors(
    states: npt.NDArray[np.float32], budget: int, keep: Keep, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """The text states (n, width) that remain within a budget: a zero vector replaces each run that was dropped."""
    if budget == 0:
        return states[:0]
    probability = keep.draw(generator)
    while True:
        dropped = (generator.random(len(states)) >= probability).tolist()
        masked = mask_states(TextStates(states), dropped).vectors
        if len(masked) <= budget:
            return masked
        probability *= _KEEP_DECAY
