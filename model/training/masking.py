"""Which tokens of a sample are inputs: 4M's Dirichlet masking, from a mixture of preferences.

A mixture component gives each modality a Dirichlet concentration; 0 leaves the modality out. Pictures and drawings
give a random part of their tokens; captions and palettes are short and come whole or not at all.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

INPUTS = ("picture", "drawing", "caption", "palette")
MAP_TOKENS = 49
BUDGETS = (16, 28, 49)  # input tokens of a batch; the last one leaves a single map whole

# weight, concentrations of picture, drawing, caption, palette
_MIXTURE = (
    (0.16, (1.0, 0.0, 0.0, 0.0)),
    (0.32, (0.0, 1.0, 0.0, 0.0)),
    (0.20, (0.0, 0.0, 1.0, 0.0)),
    (0.18, (0.0, 0.0, 0.0, 1.0)),
    (0.14, (0.5, 1.0, 1.0, 0.5)),
)
_LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Chosen:
    """What one sample shows: tokens of each map (0 to 49) and whether caption and palette are there."""

    picture: int
    drawing: int
    caption: bool
    palette: bool


def choose_inputs(available: npt.NDArray[np.bool_], budget: int, generator: np.random.Generator) -> Chosen:
    """Draw a component and the shares of `available` (4,) inputs; at least one of them is chosen.

    A component that needs what the sample lacks falls back to the sample's picture.
    """
    weights = np.array([weight for weight, _ in _MIXTURE])
    component = _MIXTURE[int(generator.choice(len(_MIXTURE), p=weights / weights.sum()))][1]
    concentrations = np.where(available, component, 0.0)
    if not concentrations.any():
        concentrations = np.eye(len(INPUTS))[0]
    shares = np.zeros(len(INPUTS))
    wanted = concentrations > 0
    shares[wanted] = generator.dirichlet(concentrations[wanted])
    shares[shares < _LEAST_SHARE] = 0.0
    maps = np.minimum(np.ceil(shares[:2] * budget).astype(int), MAP_TOKENS)
    return Chosen(int(maps[0]), int(maps[1]), bool(shares[2] > 0), bool(shares[3] > 0))


def map_mask(tokens: int, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Mask (49,), True is not used: `tokens` random ones are used."""
    mask = np.ones(MAP_TOKENS, np.bool_)
    mask[generator.permutation(MAP_TOKENS)[:tokens]] = False
    return mask
