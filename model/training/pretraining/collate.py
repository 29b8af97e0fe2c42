"""Collate masked samples into the tensors of a batch.

B batch, n entries of a modality, d numbers of a vector. Every mask is boolean; True means not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.training.pretraining.config import FieldKind
from anyseek.model.training.pretraining.plan import PlannedModality

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]


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
    own: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
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


def collate_own(rows: Sequence[Mapping[str, Array]]) -> dict[str, Tensor]:
    """Own vectors (d,) of samples by modality as (B, d), zero for samples without."""
    widths = {key: len(vector) for row in rows for key, vector in row.items()}
    own = {key: np.zeros((len(rows), width), np.float32) for key, width in widths.items()}
    for place, row in enumerate(rows):
        for key, vector in row.items():
            own[key][place] = vector
    return {key: torch.from_numpy(array) for key, array in own.items()}
