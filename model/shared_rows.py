"""Tables of which many rows need not be told apart, stored with one row for all of these.

A network has a row for every id of its vocabulary in the tables of each text modality, though a palette can have only a
few hundred of them. Such a table is stored as `name` (k + 1, n), its k rows of use and the mean of all others, and
`name:rows` int16 (rows,): which stored row stands for each of its rows.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from model.errors import WeightsCorrupt

ROWS = ":rows"
_MOST_STORED = torch.iinfo(torch.int16).max


def sharing_rows(tensors: Mapping[str, Tensor], told_apart: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored: of the tables that `told_apart` names those rows, int64 (k,), and one for the rest.

    Names without a tensor, tables whose rows are all told apart and tables with more than 32,766 such rows stay as
    they are.
    """
    stored = dict(tensors)
    for name, rows in told_apart.items():
        table = tensors.get(name)
        if table is not None and len(rows) < min(len(table), _MOST_STORED):
            stored[name], stored[name + ROWS] = _shared(table, rows)
    return stored


def spread_rows(name: str, stored: Tensor, rows: Tensor) -> Tensor:
    """Stored rows (k + 1, ...) and int16 (rows,) -> the whole table (rows, ...). Raises `WeightsCorrupt`."""
    if rows.dtype != torch.int16 or rows.ndim != 1 or not rows.numel() or rows.min() < 0 or rows.max() >= len(stored):
        raise WeightsCorrupt(
            f"the tensor {name} has {len(stored)} rows; {name}{ROWS} must be int16 numbers of these, one for each row"
        )
    return stored[rows.long()]


def _shared(table: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    others = torch.ones(len(table), dtype=torch.bool)
    others[rows] = False
    numbers = torch.full((len(table),), len(rows), dtype=torch.int16)
    numbers[rows] = torch.arange(len(rows), dtype=torch.int16)
    return torch.cat((table[rows], table[others].mean(dim=0, keepdim=True))), numbers
