"""Towers with random weights, and a bundle with them."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from anyseek.model.checkpoints.quantized import quantize
from anyseek.model.towers.space import CLASSES_FILE, FILE, METADATA_KEY, Shape, Towers, Weights
from anyseek.model.training.release import write_towers
from tests.random_bundle import write_random_bundle

SHAPE = Shape(looks=24, seen=32, hidden=16, learned=8)
# Those of the towers that ship.
WEIGHTS = {
    "rgb": Weights(whole=1.0, places=1.0, learned=1.5),
    "caption": Weights(words=1.0, learned=1.2),
    "canny_edge": Weights(whole=1.0, places=0.75),
    **dict.fromkeys(("depth", "normal", "semseg", "bounding_boxes"), Weights(whole=1.0, places=2.0)),
    "color_palette": Weights(whole=1.0),
}


def write_bundle_with_towers(folder: Path) -> None:
    """A random bundle whose towers take everything that towers can, in `folder`, which is made; always the same one."""
    network = folder.with_name("network")
    write_random_bundle(network)
    write_random_towers(network.parent)
    write_towers(network.parent / FILE, network, folder)


def write_random_towers(folder: Path) -> Path:
    """Towers in `folder`; always the same ones."""
    generator = torch.Generator().manual_seed(0)
    towers = Towers(SHAPE, WEIGHTS, {"canny_edge": 2, "depth": 1}, {"canny_edge": 0.5})
    with torch.no_grad():
        for tensor in towers.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.05)
    told = {
        "shape": asdict(SHAPE),
        "weights": {name: asdict(weights) for name, weights in WEIGHTS.items()},
        "known": towers.known,
        "mapped": towers.mapped,
    }
    save_file(quantize(towers.state_dict()), folder / FILE, {METADATA_KEY: json.dumps(told)})
    save_file(quantize({"classes": torch.randn(1000, 384, generator=generator)}), folder / CLASSES_FILE)
    return folder
