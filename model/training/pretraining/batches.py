"""Batches of masked samples. Each batch depends only on the seed and its `number`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from anyseek.model.data.shards import Entry
from anyseek.model.modalities.formats.layout import Budgets, Keep
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.seam import FloatArray
from anyseek.model.training.pretraining.collate import Batch, GridPiece, Piece, SequencePiece, collate, collate_own
from anyseek.model.training.pretraining.config import FieldKind, Mixture
from anyseek.model.training.pretraining.fields import Chance, FieldValue, chosen_field, read_field, read_own
from anyseek.model.training.pretraining.masking import BoolArray, Draw, Masker, mask_grid, mask_text, mask_vectors
from anyseek.model.training.pretraining.plan import Plan, PlannedModality
from anyseek.model.training.run.data_sets import FolderShards, taken_by_weight
from anyseek.model.training.run.order import MixedOrder, Place
from anyseek.model.training.run.shard_reader import ShardReader

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
class _Shown:
    """What one sample gives and predicts of each modality, and the own vectors of those that it gives, by key."""

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
        places = [self._drawn(number) for number in numbers]
        rows = []
        for number, place in zip(numbers, places, strict=True):
            generator, fields = self._generator(number), self._fields(place)
            draw = self._masker.draw(self._available(fields), generator)
            chance = Chance(generator, generator.random(), generator.random(), generator.random())
            rows.append(self._shown(place, fields, draw, chance))
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
        asked = np.array([key in given for key in keys]) & ~wanted
        draw = Draw(largest * asked, largest * wanted, (Keep.ALL,) * len(keys))
        rows, found, places = [], [], []
        for number in numbers:
            place = self._order.place(number)
            fields = self._fields(place)
            if self._available(fields)[asked | wanted].all():
                rows.append(self._shown(place, fields, draw, Chance(self._generator(number), 0.0, 0.0)))
                found.append(number)
                places.append(place)
        return self._batch(found, places, rows), found

    def close(self) -> None:
        """Close the shards that are open."""
        self._reader.close()

    def _generator(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._source.seed, _SAMPLE_DRAWS, number])

    def _drawn(self, number: int) -> Place:
        """The place of a sample of training: that of its number, unless its source is drawn more seldom than others.

        Such a sample is passed over with the probability that its source's weight falls short of the folder's largest,
        for one from anywhere in the folder.
        """
        place, generator = self._order.place(number), np.random.default_rng([self._source.seed, _SOURCE_DRAWS, number])
        while not taken_by_weight(self._reader, self._source.folders[place.folder], place, generator):
            place = self._order.anywhere(place.folder, generator)
        return place

    def _fields(self, place: Place) -> frozenset[str]:
        """Which fields the sample at a place has."""
        return self._reader.fields(self._source.folders[place.folder].paths[place.shard], place.sample)

    def _available(self, fields: frozenset[str]) -> BoolArray:
        """Which modalities a sample with these fields has: (m,)."""
        return np.array([not fields.isdisjoint(modality.settings.fields) for modality in self._modalities])

    def _batch(self, numbers: Sequence[int], places: Sequence[Place], rows: "Sequence[_Shown]") -> Batch:
        batch = collate(self._modalities, [row.pieces for row in rows])
        if not self._source.plan.contrast:
            return batch
        bank = [int(self._starts[place.folder][place.shard]) + place.sample for place in places]
        first = numbers[0] if numbers else 0
        return replace(batch, own=collate_own([row.own for row in rows]), rows=torch.tensor(bank), number=first)

    def _shown(self, place: Place, fields: frozenset[str], draw: Draw | None, chance: Chance) -> "_Shown":
        """What a sample gives and predicts; nothing where there is no draw. Only the files that it takes are read."""
        shown = _Shown([None] * len(self._modalities), {})
        if draw is None:
            return shown
        chosen = {
            int(n): chosen_field(self._modalities[n], fields, chance) for n in np.flatnonzero(draw.input + draw.target)
        }
        entry = self._read(place, chosen)
        for n in chosen:
            modality = self._modalities[n]
            value = read_field(modality, self._source.plan.text, entry, chance)
            if value is not None:
                budgets = Budgets(modality.max_tokens, int(draw.input[n]), int(draw.target[n]))
                shown.pieces[n] = self._piece(modality, value, budgets, draw.keep[n], chance.generator)
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

    def _piece(
        self,
        modality: PlannedModality,
        value: FieldValue,
        budgets: Budgets,
        keep: Keep,
        generator: np.random.Generator,
    ) -> Piece:
        if isinstance(value, list) and self._ids is not None:
            return SequencePiece(*mask_text(value, budgets, keep, self._ids, generator))
        array = np.asarray(value)
        if modality.settings.kind is FieldKind.STATES:
            kept = mask_vectors(array, budgets.input, keep, generator)
            return SequencePiece(kept, np.zeros(0, np.int64))
        return GridPiece(array, *mask_grid(modality.row.tokens, budgets.input, budgets.target, generator))
