"""The towers' space with random weights, as `model.training.towers.fit` writes it."""

from pathlib import Path

import torch

from model.towers.space import FILE, Shape, Towers, save_towers
from model.training.towers.fit import WEIGHTS


def write_random_towers(folder: Path) -> Path:
    """A space that takes everything that towers can, in `folder`; always the same one."""
    generator = torch.Generator().manual_seed(0)
    towers = Towers(Shape(), WEIGHTS, {"canny_edge": 2, "depth": 1}, {"canny_edge": 0.5})
    with torch.no_grad():
        for tensor in towers.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.05)
    save_towers(towers, folder / FILE)
    return folder
