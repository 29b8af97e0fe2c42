"""Read a sample's files as values, and mask them as 4M does. No torch.

If a sample has several captions or palettes, one is drawn; caption states are those of the drawn caption. An array with
one more leading dimension than its kind holds several views of the sample (such as augmentations); all arrays of a
sample use the same view.

A sample draws a component of the mixture, then a total of input tokens and a total of target tokens. A Dirichlet draw
shares out each total, rounded down; the remaining tokens go one by one to the largest share of fresh draws. Every share
is then cut to what the modality has, and the targets on a grid to what the inputs leave of it; nothing is shared out
again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.data.contents import decode_value
from anyseek.model.data.shards import Entry
from anyseek.model.modalities.formats.boxes import boxes_to_text
from anyseek.model.modalities.formats.color_palette import palette_to_text
from anyseek.model.modalities.formats.human_poses import GROUPS, poses_to_text
from anyseek.model.modalities.formats.layout import Budgets, Keep, lay_out
from anyseek.model.modalities.formats.metadata import metadata_chunks
from anyseek.model.modalities.formats.sam_instances import instances_to_text
from anyseek.model.modalities.formats.spans import FormatInvalid, SpecialIds, TextStates, mask_states
from anyseek.model.seam import FloatArray
from anyseek.model.tokenizers.inputs import pixels_of
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import FieldKind, Mixture
from anyseek.model.training.pretraining.plan import PlannedModality
from anyseek.model.training.run.errors import TrainingDataInvalid

Array = npt.NDArray[Any]
Chunks = list[tuple[int, ...]]
FieldValue = Array | Chunks
_MAX_POINTS = 7  # of SAM instances in a sample
_MIN_LENGTH = 1e-9  # a vector of no length stays one


@dataclass(frozen=True)
class Chance:
    """The draws of a sample: `generator`, and numbers in [0, 1) that choose the same view and text of all its files.

    `field` chooses among the alternative fields of a modality.
    """

    generator: np.random.Generator
    view: float
    text: float
    field: float = 0.0


def chosen_field(modality: PlannedModality, fields: Collection[str], chance: Chance) -> str:
    """The field of a modality that is shown of a sample which has `fields`; at least one of the modality's is there."""
    found = [field for field in modality.settings.fields if field in fields]
    return found[int(chance.field * len(found))]


def read_field(
    modality: PlannedModality, field: str, text: TextTokenizer | None, entry: Entry, chance: Chance
) -> FieldValue | None:
    """The value of a modality by one of its fields, which the entry has. Raises `TrainingDataInvalid`."""
    names = {name.partition(".")[0]: name for name in entry.files}
    name, lengths = names[field], names.get(modality.settings.lengths or "")
    decoded = decode_value(name, entry.files[name])
    try:
        if lengths is not None:
            decoded = _one_text(decoded, decode_value(lengths, entry.files[lengths]), chance)
        return _value(modality, field, decoded, text, chance)
    except (ValueError, FormatInvalid) as error:
        raise TrainingDataInvalid(f"{name} of {entry.key} is no {modality.settings.key}: {error}") from error


def read_own(modality: PlannedModality, field: str, entry: Entry, chance: Chance) -> FloatArray | None:
    """The own encoder vector of a modality whose `field` is shown: unit float32 (d,), of the same view or text.

    None where the sample has none. Raises `TrainingDataInvalid`.
    """
    names = {name.partition(".")[0]: name for name in entry.files}
    name = names.get(modality.own[modality.settings.fields.index(field)]) if modality.own else None
    if name is None:
        return None
    vectors: FloatArray = own_vectors(name, entry)
    is_said = modality.settings.kind is FieldKind.STATES or modality.settings.format == "caption"
    vector: FloatArray = vectors[int((chance.text if is_said else chance.view) * len(vectors))]
    return vector


def own_vectors(name: str, entry: Entry) -> FloatArray:
    """All views or texts of an own vector, as unit rows float32 (n, d). Raises `TrainingDataInvalid`."""
    array = decode_value(name, entry.files[name])
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2) or not array.size:
        raise TrainingDataInvalid(f"{name} of {entry.key} is neither a vector nor a stack of vectors")
    rows = np.atleast_2d(array).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, _MIN_LENGTH), np.float32)


def _value(
    modality: PlannedModality, field: str, decoded: Any, text: TextTokenizer | None, chance: Chance
) -> FieldValue | None:
    row, settings = modality.row, modality.settings
    rows, columns = row.grid or (0, 0)
    match settings.kind:
        case FieldKind.PICTURE:
            pixels = pixels_of(field)
            assert pixels is not None, "the plan has refused every other field"
            return pixels.network(decoded, rows * (row.patch or 1))
        case FieldKind.MAP:
            return _view(decoded, (rows, columns, row.channels), chance).transpose(2, 0, 1)
        case FieldKind.TOKENS:
            return _within(_view(decoded, (row.tokens,), chance).astype(np.int64), row.vocabulary)
        case FieldKind.VECTOR:
            return _view(decoded, (modality.vector_length,), chance).astype(np.float32)
        case FieldKind.STATES:
            return _view(decoded, (-1, row.width), chance)[: modality.max_tokens].astype(np.float32)
        case FieldKind.TEXT:
            chunks = [] if text is None else TEXTS[settings.format](decoded, text, chance)
            _within(np.array([number for chunk in chunks for number in chunk], np.int64), row.vocabulary)
            return [*chunks, (text.end_id,)] if text is not None and chunks else None


def _view(array: Array, shape: tuple[int, ...], chance: Chance) -> Array:
    """An array of this shape (-1: any length), or the chosen one of several stacked. Raises `ValueError`."""
    found = array.shape[-len(shape) :]
    fits = len(found) == len(shape) and all(want in (-1, have) for want, have in zip(shape, found, strict=True))
    if not fits or array.ndim > len(shape) + 1 or not array.size:
        raise ValueError(f"its shape is {array.shape}, not {shape} or a stack of these")
    return array if array.ndim == len(shape) else array[int(chance.view * len(array))]


def _one_text(states: Array, lengths: Array, chance: Chance) -> Array:
    """The rows of one text out of states (all, width) whose texts have `lengths` (n,) rows. Raises `ValueError`."""
    if lengths.ndim != 1 or not len(lengths) or int(lengths.sum()) != len(states):
        raise ValueError(f"it has {len(states)} rows, its texts {lengths.tolist()}")
    ends = lengths.cumsum()
    chosen = int(chance.text * len(lengths))
    return states[int(ends[chosen] - lengths[chosen]) : int(ends[chosen])]


def _within(numbers: Array, vocabulary: int) -> Array:
    if numbers.size and (numbers.min() < 0 or numbers.max() >= vocabulary):
        raise ValueError(f"it has ids from {numbers.min()} to {numbers.max()}, not from 0 to {vocabulary - 1}")
    return numbers


def _ids(written: str, tokenizer: TextTokenizer) -> Chunks:
    """A text of which every id is kept or dropped by itself."""
    return [(number,) for number in tokenizer.encode(written)]


def _metadata(metadata: Any, tokenizer: TextTokenizer, chance: Chance) -> Chunks:
    """Pairs in random order, each kept or dropped as one."""
    pairs = metadata_chunks(metadata)
    return [tuple(tokenizer.encode(pairs[n])) for n in chance.generator.permutation(len(pairs))]


def _poses(people: Any, tokenizer: TextTokenizer, chance: Chance) -> Chunks:
    """The groups of each person in an order of its own, as the published networks were trained."""
    orders = [[GROUPS[n] for n in chance.generator.permutation(len(GROUPS))] for _ in people]
    return _ids(poses_to_text(people, orders), tokenizer)


def _instances(points: Any, tokenizer: TextTokenizer, chance: Chance) -> Chunks:
    """At most 7 of the points, and the masks of each, in random order."""
    chosen = [points[n] for n in chance.generator.permutation(len(points))[:_MAX_POINTS]]
    shuffled = [
        replace(point, masks=tuple(point.masks[n] for n in chance.generator.permutation(len(point.masks))))
        for point in chosen
    ]
    return _ids(instances_to_text(shuffled), tokenizer)


# By the names of `formats.table.FORMATS`: from a value as `anyseek.model.data.samples` lists it to chunks of ids.
TEXTS: Mapping[str, Callable[[Any, TextTokenizer, Chance], Chunks]] = {
    "caption": lambda captions, tokenizer, chance: (
        _ids(captions[int(chance.text * len(captions))].text, tokenizer) if captions else []
    ),
    "color_palette": lambda palettes, tokenizer, chance: (
        _ids(palette_to_text(palettes[int(chance.generator.integers(len(palettes)))]), tokenizer) if palettes else []
    ),
    "det": lambda boxes, tokenizer, chance: _ids(boxes_to_text(boxes), tokenizer),
    "metadata": _metadata,
    "human_poses": _poses,
    "sam_instance": _instances,
}


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
        # Dirichlet concentrations (components, m), 0 for what takes no part
        none = (0.0,) * len(mixture.weights)
        self._inputs = np.array([modality.input or none for modality in settings], np.float64).T
        self._targets = np.array([modality.target or none for modality in settings], np.float64).T
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
        total = self._mixture.input_tokens
        given = share_out(int(generator.integers(total.least, total.most + 1)), inputs[component], generator)
        given = np.minimum(given, self._largest)
        total = self._mixture.target_tokens
        predicted = share_out(int(generator.integers(total.least, total.most + 1)), targets[component], generator)
        left = np.where(self._sequence, self._largest, self._largest - given)
        return Draw(given, np.minimum(predicted, left), self._keep[component])


def share_out(total: int, concentrations: npt.NDArray[np.float64], generator: np.random.Generator) -> IntArray:
    """Split `total` tokens by Dirichlet `concentrations` (m,), where 0 gets no tokens: (m,)."""
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
