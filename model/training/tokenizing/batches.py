"""Batches of a tokenizer's inputs. Each depends only on the seed and its `number`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.data.contents import decode_value
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.inputs import InputKind, instance_mask, instance_numbers, tokenizer_input
from anyseek.model.training.run.data_sets import FolderShards, MixedOrder, Place, ShardReader, is_drawn_by_weight
from anyseek.model.training.run.errors import TrainingDataInvalid
from anyseek.model.training.tokenizing.config import ModalityConfig

_SAMPLE_DRAWS, _PLACE_DRAWS, _SIZE_DRAWS = 5, 6, 7  # seed streams; those of the order begin at 1 and 2
_MAX_TRIES = 1000
_DIMENSIONS = {InputKind.MAP: 3, InputKind.VECTOR: 1}  # of arrays; an additional one is a stack of views


@dataclass(frozen=True)
class InputBatch:
    """A batch of inputs: `values` (B, ...) as in `model.tokenizers.inputs.InputKind`, and the batch's `number`."""

    values: Tensor
    tokens: int
    number: int
    empty: int = 0

    @property
    def samples(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class InputSource:
    """A source of batches of `size` samples; picklable, for worker processes."""

    modality: ModalityConfig
    kind: InputKind
    tokenizer: TokenizerConfig
    folders: tuple[FolderShards, ...]
    window: int
    size: int
    seed: int

    def maker(self) -> "InputMaker":
        """A maker of its batches for the current process."""
        return InputMaker(self)


class InputMaker:
    """Makes the batches of a source, with random access."""

    def __init__(self, source: InputSource) -> None:
        self._source = source
        counts, weights = [folder.counts for folder in source.folders], [folder.weight for folder in source.folders]
        self._order = MixedOrder(counts, weights, source.window, source.seed)
        self._reader = ShardReader(kept=2 * source.window * len(source.folders))

    def training_batch(self, number: int) -> InputBatch:
        """Batch `number` (from 0) of the endless order, at a randomly drawn size in pixels."""
        first, sizes = number * self._source.size, self._source.modality.sizes
        size = sizes[int(self._generator(_SIZE_DRAWS, number).integers(len(sizes)))]
        return self.batch(range(first, first + self._source.size), size, number)

    def batch(self, numbers: Sequence[int], size: int, number: int) -> InputBatch:
        """The samples with these numbers in the endless order, at `size` pixels. Raises `TrainingDataInvalid`."""
        rows = [self._sample(number, size) for number in numbers]
        if len({row.shape for row in rows}) > 1:
            shapes = " and ".join(str(shape) for shape in sorted({row.shape for row in rows})[:2])
            raise TrainingDataInvalid(f"{' or '.join(self._source.modality.fields)} has arrays of the shapes {shapes}")
        values = torch.from_numpy(np.stack(rows))
        return InputBatch(values, tokens_of(values, self._source.tokenizer), number)

    def close(self) -> None:
        """Close the shards that are open."""
        self._reader.close()

    def _generator(self, draws: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._source.seed, draws, number])

    def _sample(self, number: int, size: int) -> npt.NDArray[Any]:
        """Input number `number`; if it has none, or its weight rejects it, one of a random sample of the folder."""
        generator, place = self._generator(_PLACE_DRAWS, number), self._order.place(number)
        draws = self._generator(_SAMPLE_DRAWS, number)
        for _ in range(_MAX_TRIES):
            folder = self._source.folders[place.folder]
            if is_drawn_by_weight(self._reader, folder, place, generator):
                values = self._read(folder, place, size, draws)
                if values is not None:
                    return values
            place = self._order.random_place(place.folder, generator)
        fields = " or ".join(self._source.modality.fields)
        raise TrainingDataInvalid(f"of {_MAX_TRIES} samples drawn next to {folder.paths[0]} none has {fields}")

    def _read(
        self, folder: FolderShards, place: Place, size: int, draws: np.random.Generator
    ) -> npt.NDArray[Any] | None:
        """The input of a sample, from a random one of its fields; None if it has none of them."""
        path = folder.paths[place.shard]
        present = self._reader.fields(path, place.sample)
        fields = [field for field in self._source.modality.fields if field in present]
        if not fields:
            return None
        field = fields[int(draws.integers(len(fields)))]
        entry = self._reader.read(path, place.sample, {field})
        try:
            return read_input(self._source, field, entry.files, size, draws)
        except FormatInvalid as error:
            raise TrainingDataInvalid(
                f"{field} of {entry.key} in {path} does not fit the tokenizer: {error}"
            ) from error


def read_input(
    source: InputSource, field: str, files: Mapping[str, bytes], size: int, draws: np.random.Generator
) -> npt.NDArray[Any] | None:
    """The value of a field as an input, with a random one of several views or instances.

    None for a picture without instances. Raises `FormatInvalid`.
    """
    ((name, data),) = files.items()
    value, kind = decode_value(name, data), source.kind
    if kind is InputKind.MASK:
        numbers = instance_numbers(value)
        return instance_mask(value, numbers[int(draws.integers(len(numbers)))], size) if numbers else None
    if kind in _DIMENSIONS and value.ndim == _DIMENSIONS[kind] + 1:
        value = value[int(draws.integers(len(value)))]
    return tokenizer_input(field, value, source.tokenizer, size)


def tokens_of(values: Tensor, tokenizer: TokenizerConfig) -> int:
    """The number of tokens of inputs (B, ...)."""
    if values.dim() == 2:
        return len(values) * tokenizer.num_codebooks
    patch = tokenizer.patch_size if tokenizer.patch_proj else 1
    return len(values) * (values.shape[-2] // patch) * (values.shape[-1] // patch)
