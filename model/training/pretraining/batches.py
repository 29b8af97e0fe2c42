"""Batches of masked samples. Batch `number` is a function of the seed and that number alone."""

import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from model.formats.layout import Budgets, Keep
from model.formats.spans import SpecialIds
from model.training.pretraining.collate import Batch, GridPiece, Piece, SequencePiece, collate
from model.training.pretraining.config import FieldKind, Mixture
from model.training.pretraining.data_sets import FolderShards
from model.training.pretraining.fields import Chance, FieldValue, read_field
from model.training.pretraining.masking import BoolArray, Draw, Masker, mask_grid, mask_text, mask_vectors
from model.training.pretraining.order import MixedOrder, Place
from model.training.pretraining.plan import Plan, PlannedModality
from model.training.pretraining.shard_reader import ShardReader

_SAMPLE_DRAWS, _SOURCE_DRAWS = 3, 4  # tell the draws of samples from those of the order, which begin with 1 and 2
_AHEAD = 4  # batches that each worker has ready


@dataclass(frozen=True)
class BatchSource:
    """Where batches come from; plain data, which worker processes get a copy of. `size` samples make a batch."""

    plan: Plan
    mixture: Mixture
    folders: tuple[FolderShards, ...]
    window: int
    size: int
    seed: int


class BatchMaker:
    """Makes the batches of a source, any of them at any time."""

    def __init__(self, source: BatchSource) -> None:
        self._source, self._modalities = source, source.plan.modalities
        counts, weights = [folder.counts for folder in source.folders], [folder.weight for folder in source.folders]
        self._order = MixedOrder(counts, weights, source.window, source.seed)
        self._masker = Masker(self._modalities, source.mixture)
        self._reader = ShardReader(kept=2 * source.window * len(source.folders))
        self._ids = None if source.plan.text is None else SpecialIds.of(source.plan.text)

    def training_batch(self, number: int) -> Batch:
        """Batch `number` (from 0) of the endless order."""
        first = number * self._source.size
        return self.masked_batch(range(first, first + self._source.size))

    def masked_batch(self, numbers: Sequence[int]) -> Batch:
        """The samples of these numbers in the endless order, masked by the mixture."""
        rows = []
        for number in numbers:
            place, generator = self._drawn(number), self._generator(number)
            draw = self._masker.draw(self._available(place), generator)
            rows.append(self._pieces(place, draw, Chance(generator, generator.random(), generator.random())))
        return collate(self._modalities, rows)

    def whole_batch(self, numbers: Sequence[int], given: Sequence[str], target: str) -> tuple[Batch, list[int]]:
        """Samples that give all tokens of all of `given` and predict those of `target`.

        Only samples that have all of these are rows of the batch; their numbers come second.
        """
        keys = [modality.settings.key for modality in self._modalities]
        largest = np.array([modality.max_tokens for modality in self._modalities])
        wanted = np.array([key == target for key in keys])
        asked = np.array([key in given for key in keys]) & ~wanted
        draw = Draw(largest * asked, largest * wanted, (Keep.ALL,) * len(keys))
        rows, found = [], []
        for number in numbers:
            place = self._order.place(number)
            if self._available(place)[asked | wanted].all():
                rows.append(self._pieces(place, draw, Chance(self._generator(number), 0.0, 0.0)))
                found.append(number)
        return collate(self._modalities, rows), found

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
        while True:
            folder = self._source.folders[place.folder]
            weights = folder.source_weights
            if len(set(weights.values())) == 1:
                return place
            source = self._reader.key(folder.paths[place.shard], place.sample).partition("/")[0]
            if generator.random() * max(weights.values()) < weights.get(source, 1.0):
                return place
            place = self._order.anywhere(place.folder, generator)

    def _available(self, place: Place) -> BoolArray:
        """Which modalities the sample at a place has files of: (m,)."""
        fields = self._reader.fields(self._source.folders[place.folder].paths[place.shard], place.sample)
        return np.array([modality.settings.field in fields for modality in self._modalities])

    def _pieces(self, place: Place, draw: Draw | None, chance: Chance) -> list[Piece]:
        """What a sample gives and predicts; nothing where there is no draw. Only the files that it takes are read."""
        pieces: list[Piece] = [None] * len(self._modalities)
        if draw is None:
            return pieces
        taken = np.flatnonzero(draw.input + draw.target)
        settings = [self._modalities[n].settings for n in taken]
        fields = {name for one in settings for name in (one.field, one.lengths) if name is not None}
        entry = self._reader.read(self._source.folders[place.folder].paths[place.shard], place.sample, fields)
        for n in taken:
            modality = self._modalities[n]
            value = read_field(modality, self._source.plan.text, entry, chance)
            if value is not None:
                budgets = Budgets(modality.max_tokens, int(draw.input[n]), int(draw.target[n]))
                pieces[n] = self._piece(modality, value, budgets, draw.keep[n], chance.generator)
        return pieces

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


class _NumberedBatches(Dataset[Batch]):
    """Batches by their number; the maker is made in the process that uses it."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source
        self._maker: BatchMaker | None = None

    def __getitem__(self, number: int) -> Batch:
        self._maker = self._maker or BatchMaker(self._source)
        return self._maker.training_batch(number)


def batches_between(source: BatchSource, first: int, last: int, workers: int) -> Generator[Batch, None, None]:
    """Batches `first` to `last` - 1 in order, made ahead by `workers` processes, or as they are asked for if none.

    How many processes there are changes nothing about the batches.
    """
    loader = DataLoader(
        _NumberedBatches(source),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_start_worker,
    )
    yield from loader


def _start_worker(number: int) -> None:
    """Leave signals to the whole group to the main process, which ends its workers when it is done; use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
