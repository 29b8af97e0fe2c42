"""Encode only some tokens of each image, spread evenly over it.

4M is trained on random subsets of its inputs, so it can also predict from part of an image. Fewer tokens are faster but
less exact.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import ModalityInput


def within_budget(inputs: Mapping[str, ModalityInput], config: FourMConfig, budget: int) -> dict[str, ModalityInput]:
    """Keep at most `budget` tokens of each modality on a grid, at the same places in every row.

    Sequences stay whole.
    """
    return {key: _thinned(given, config, key, budget) for key, given in inputs.items()}


def _thinned(given: ModalityInput, config: FourMConfig, key: str, budget: int) -> ModalityInput:
    row = config.row(key)
    if not row.is_image or row.grid is None or budget >= row.tokens:
        return given
    left_out = ~spread(row.grid, budget)
    return ModalityInput(given.values, given.mask | left_out.to(given.mask.device))


def spread(grid: tuple[int, int], count: int) -> Tensor:
    """Which `count` places of a grid (rows, columns) to keep: bool (rows * columns,), row by row.

    Always the same, and evenly spread, in the order of Bayer's dither matrix: first every other place of every other
    row, then those diagonally between them (half of the grid, as on a chessboard). More places keep all of fewer.
    """
    row, column = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rank = torch.zeros_like(row)
    for bit in range(max(grid).bit_length()):
        # the lowest bits of the coordinates, where neighbours differ, decide first
        rank = 4 * rank + 2 * ((row ^ column) >> bit & 1) + (row >> bit & 1)
    kept = torch.zeros(rank.numel(), dtype=torch.bool)
    kept[rank.flatten().argsort()[:count]] = True
    return kept
