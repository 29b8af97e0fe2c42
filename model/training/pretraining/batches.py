"""Batches of masked samples. Each batch depends only on the seed and its `number`.

B batch, n entries of a modality, d numbers of a vector. Every mask is boolean; True means not used."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.data.shards import Entry
from anyseek.model.modalities.formats.layout import Budgets, Keep
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.seam import FloatArray
from anyseek.model.training.pretraining.config import FieldKind, Mixture
from anyseek.model.training.pretraining.masking import (
    BoolArray,
    Chance,
    Draw,
    Masker,
    chosen_field,
    mask_grid,
    mask_text,
    mask_vectors,
    read_field,
    read_own,
)
from anyseek.model.training.pretraining.plan import Plan, PlannedModality
from anyseek.model.training.run.data_sets import FolderShards, MixedOrder, Place, ShardReader, is_drawn_by_weight

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class GridPiece:
    """One modality of one sample that lies on a grid: `value` and two masks (n,) over its tokens.

    `value`: pixels or a map float (channels, rows, columns), tokens int64 (n,), or a vector float32 (d,).
    """

    value: Array
    input_mask: BoolArray
    target_mask: BoolArray


@dataclass(frozen=True)
class SequencePiece:
    """One sequence of one sample: `given` ids (n,) or vectors (n, width), `wanted` ids (n,), of different lengths."""

    given: Array
    wanted: Array


Piece = GridPiece | SequencePiece | None


@dataclass(frozen=True)
class Batch:
    """The network's input. `vectors` float32 (B, d) holds the modalities whose ids are still to be computed from them.

    `targets` has every target modality of the network, including those that no sample predicts here. `samples` counts
    rows, `empty` the rows without any piece, `tokens` all used entries. For contrast, `own` float32 (B, d) holds the
    own encoder vectors of shown inputs, zero elsewhere; `rows` int64 (B,) gives each sample's place in the bank of
    vectors; and `number` is the number of the first sample.
    """

    inputs: dict[str, ModalityInput]
    targets: dict[str, ModalityTarget]
    vectors: dict[str, Tensor]
    samples: int
    empty: int
    tokens: int
    own: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    rows: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    number: int = 0


def collate(modalities: Sequence[PlannedModality], rows: Sequence[Sequence[Piece]]) -> Batch:
    """A batch of samples, each with a piece or None for every modality."""
    batch = Batch({}, {}, {}, len(rows), sum(not any(row) for row in rows), 0)
    tokens = 0
    for n, modality in enumerate(modalities):
        column = [row[n] for row in rows]
        given, wanted = _sequences(modality, column) if modality.settings.kind.is_sequence else _grids(modality, column)
        key = modality.settings.key
        is_given, is_wanted = not bool(given.mask.all()), not bool(wanted.mask.all())
        if modality.settings.kind is FieldKind.VECTOR and (is_given or is_wanted):
            batch.vectors[key] = given.values
        if is_given:
            batch.inputs[key] = given
            tokens += int((~given.mask).sum())
        if modality.settings.target:
            batch.targets[key] = wanted
            tokens += int((~wanted.mask).sum())
    return Batch(batch.inputs, batch.targets, batch.vectors, batch.samples, batch.empty, tokens)


def _grids(modality: PlannedModality, column: Sequence[Piece]) -> tuple[ModalityInput, ModalityTarget]:
    """Values (B, ...) with zeros for samples that lack them, and masks (B, n)."""
    found = [(place, piece) for place, piece in enumerate(column) if isinstance(piece, GridPiece)]
    masks = np.ones((2, len(column), modality.row.tokens), np.bool_)
    example = found[0][1].value if found else np.zeros(modality.row.tokens, np.int64)
    values = np.zeros((len(column), *example.shape), example.dtype)
    for place, piece in found:
        values[place], masks[0, place], masks[1, place] = piece.value, piece.input_mask, piece.target_mask
    tensor = torch.from_numpy(values)
    return ModalityInput(tensor, torch.from_numpy(masks[0])), ModalityTarget(tensor, torch.from_numpy(masks[1]))


def _sequences(modality: PlannedModality, column: Sequence[Piece]) -> tuple[ModalityInput, ModalityTarget]:
    """Ids or vectors padded on the right to the longest of the batch."""
    pieces = [piece if isinstance(piece, SequencePiece) else None for piece in column]
    width = (modality.row.width,) if modality.settings.kind is FieldKind.STATES else ()
    given = padded([None if piece is None else piece.given for piece in pieces], width, 1)
    wanted = padded([None if piece is None else piece.wanted for piece in pieces], (), 2)
    return ModalityInput(*given), ModalityTarget(*wanted)


def padded(rows: Sequence[Array | None], width: tuple[int, ...], shortest: int) -> tuple[Tensor, Tensor]:
    """Rows (n, ...) or None as one tensor (B, longest, ...) and its mask; at least `shortest` long."""
    longest = max([shortest, *(len(row) for row in rows if row is not None)])
    values = np.zeros((len(rows), longest, *width), np.float32 if width else np.int64)
    mask = np.ones((len(rows), longest), np.bool_)
    for place, row in enumerate(rows):
        if row is not None:
            values[place, : len(row)], mask[place, : len(row)] = row, False
    return torch.from_numpy(values), torch.from_numpy(mask)


def collate_own_vectors(rows: Sequence[Mapping[str, Array]]) -> dict[str, Tensor]:
    """Own vectors (d,) of samples by modality as (B, d), zero for samples without."""
    zeros = {key: np.zeros(len(vector), np.float32) for row in rows for key, vector in row.items()}
    return {key: torch.from_numpy(np.stack([row.get(key, zero) for row in rows])) for key, zero in zeros.items()}


_SAMPLE_DRAWS, _SOURCE_DRAWS = 3, 4  # tell the draws of samples from those of the order, which begin with 1 and 2


@dataclass(frozen=True)
class BatchSource:
    """A source of batches: plain data, which is copied to worker processes. `size` samples make a batch."""

    plan: Plan
    mixture: Mixture
    folders: tuple[FolderShards, ...]
    window: int
    size: int
    seed: int

    def maker(self) -> "BatchMaker":
        """What makes its batches, in the process that uses it."""
        return BatchMaker(self)


@dataclass(frozen=True)
class _MaskedSample:
    """The inputs and targets of one sample by modality, and the own vectors of its inputs by key."""

    pieces: list[Piece]
    own: dict[str, FloatArray]


class BatchMaker:
    """Makes the batches of a source, any of them at any time."""

    def __init__(self, source: BatchSource) -> None:
        self._source, self._modalities = source, source.plan.modalities
        counts, weights = [folder.counts for folder in source.folders], [folder.weight for folder in source.folders]
        self._order = MixedOrder(counts, weights, source.window, source.seed)
        self._masker = Masker(self._modalities, source.mixture, needs_target=not source.plan.contrast)
        self._starts = [folder.first + np.concatenate([[0], np.cumsum(folder.counts)]) for folder in source.folders]
        self._reader = ShardReader(kept=2 * source.window * len(source.folders))
        self._ids = None if source.plan.text is None else SpecialIds.of(source.plan.text)

    def training_batch(self, number: int) -> Batch:
        """Batch `number` (from 0) of the endless order."""
        first = number * self._source.size
        return self.masked_batch(range(first, first + self._source.size))

    def masked_batch(self, numbers: Sequence[int]) -> Batch:
        """The samples of these numbers in the endless order, masked by the mixture."""
        places = [self._draw_place(number) for number in numbers]
        rows = []
        for number, place in zip(numbers, places, strict=True):
            generator, fields = self._generator(number), self._fields(place)
            draw = self._masker.draw(self._available(fields), generator)
            chance = Chance(generator, generator.random(), generator.random(), generator.random())
            rows.append(self._mask_sample(place, fields, draw, chance))
        return self._batch(numbers, places, rows)

    def whole_batch(
        self, numbers: Sequence[int], given: Sequence[str], targets: Sequence[str]
    ) -> tuple[Batch, list[int]]:
        """Batch the samples that give all tokens of all of `given` and predict those of `targets`.

        Only samples that have all of these become rows of the batch; the second result is their numbers.
        """
        keys = [modality.settings.key for modality in self._modalities]
        largest = np.array([modality.max_tokens for modality in self._modalities])
        wanted = np.array([key in targets for key in keys])
        shown = np.array([key in given for key in keys]) & ~wanted
        draw = Draw(largest * shown, largest * wanted, (Keep.ALL,) * len(keys))
        rows, found, places = [], [], []
        for number in numbers:
            place = self._order.place(number)
            fields = self._fields(place)
            if self._available(fields)[shown | wanted].all():
                rows.append(self._mask_sample(place, fields, draw, Chance(self._generator(number), 0.0, 0.0)))
                found.append(number)
                places.append(place)
        return self._batch(found, places, rows), found

    def close(self) -> None:
        """Close the shards that are open."""
        self._reader.close()

    def _generator(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._source.seed, _SAMPLE_DRAWS, number])

    def _draw_place(self, number: int) -> Place:
        """The place of a training sample: that of its number, unless its source's weight rejects it.

        Such a sample is passed over with the probability that its source's weight falls short of the folder's largest,
        for one from anywhere in the folder.
        """
        place, generator = self._order.place(number), np.random.default_rng([self._source.seed, _SOURCE_DRAWS, number])
        while not is_drawn_by_weight(self._reader, self._source.folders[place.folder], place, generator):
            place = self._order.random_place(place.folder, generator)
        return place

    def _fields(self, place: Place) -> frozenset[str]:
        """Which fields the sample at a place has."""
        return self._reader.fields(self._source.folders[place.folder].paths[place.shard], place.sample)

    def _available(self, fields: frozenset[str]) -> BoolArray:
        """Which modalities a sample with these fields has: (m,)."""
        return np.array([not fields.isdisjoint(modality.settings.fields) for modality in self._modalities])

    def _batch(self, numbers: Sequence[int], places: Sequence[Place], rows: "Sequence[_MaskedSample]") -> Batch:
        batch = collate(self._modalities, [row.pieces for row in rows])
        if not self._source.plan.contrast:
            return batch
        bank = [int(self._starts[place.folder][place.shard]) + place.sample for place in places]
        first = numbers[0] if numbers else 0
        return replace(batch, own=collate_own_vectors([row.own for row in rows]), rows=torch.tensor(bank), number=first)

    def _mask_sample(self, place: Place, fields: frozenset[str], draw: Draw | None, chance: Chance) -> "_MaskedSample":
        """The masked inputs and targets of a sample, empty without a draw; reads only the files that it needs."""
        shown = _MaskedSample([None] * len(self._modalities), {})
        if draw is None:
            return shown
        chosen = {
            int(n): chosen_field(self._modalities[n], fields, chance) for n in np.flatnonzero(draw.input + draw.target)
        }
        entry = self._read(place, chosen)
        for n in chosen:
            modality = self._modalities[n]
            value = read_field(modality, chosen[n], self._source.plan.text, entry, chance)
            if value is not None:
                budgets = Budgets(modality.max_tokens, int(draw.input[n]), int(draw.target[n]))
                if isinstance(value, list) and self._ids is not None:
                    piece: Piece = SequencePiece(*mask_text(value, budgets, draw.keep[n], self._ids, chance.generator))
                elif modality.settings.kind is FieldKind.STATES:
                    kept = mask_vectors(np.asarray(value), budgets.input, draw.keep[n], chance.generator)
                    piece = SequencePiece(kept, np.zeros(0, np.int64))
                else:
                    masks = mask_grid(modality.row.tokens, budgets.input, budgets.target, chance.generator)
                    piece = GridPiece(np.asarray(value), *masks)
                shown.pieces[n] = piece
                own = read_own(modality, chosen[n], entry, chance) if budgets.input else None
                if own is not None:
                    shown.own[modality.settings.key] = own
        return shown

    def _read(self, place: Place, chosen: Mapping[int, str]) -> Entry:
        """The files of a sample that are needed for the chosen field of some modalities, by their number."""
        names = set(chosen.values())
        for n, field in chosen.items():
            modality = self._modalities[n]
            names |= {modality.settings.lengths or field}
            if modality.own:
                names.add(modality.own[modality.settings.fields.index(field)])
        return self._reader.read(self._source.folders[place.folder].paths[place.shard], place.sample, names)
