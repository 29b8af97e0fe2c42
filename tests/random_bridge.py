"""A bridge with random numbers, as `anyseek models adapt` writes it."""

from pathlib import Path

import numpy as np

from anyseek.model.bridges.space import Bridge, ModalityMap, features_of, unit
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.openclip.embedder import SPACE, load_openclip_embedder
from anyseek.model.training.bridges.adapt import write_bridge
from tests.model.openclip.making import make_folder

_SEEN = {
    "metadata": features_of("metadata", [Metadata({})]),
    "color_palette": features_of("color_palette", [np.zeros((1, 3), np.uint8)]),
}


def write_random_bridge(home: Path) -> str:
    """A bridge below `home` to a random open_clip model there; returns its name. It takes everything that bridges can.

    Skips the test where open_clip is not installed.
    """
    base = load_openclip_embedder(f"openclip:local-dir:{make_folder(home / 'open_clip')}", home)
    name, dimension = "bridge:random", base.spaces[SPACE].dimension
    write_bridge(name, home, base, random_bridge(dimension), {"nothing": "Apache-2.0"})
    return name


def random_bridge(dimension: int) -> Bridge:
    """Always the same one."""
    generator = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return generator.normal(size=shape).astype(np.float32) * np.float32(0.1)

    maps = {}
    for modality in sorted(INPUTS):
        features = _SEEN.get(modality)
        width = dimension if features is None else features.shape[1]
        maps[modality] = ModalityMap(
            numbers(2, dimension), numbers(width), numbers(width, 5), numbers(5, dimension), 0.5
        )
    return Bridge(unit(numbers(dimension)) * np.float32(0.5), 0.8, maps)
