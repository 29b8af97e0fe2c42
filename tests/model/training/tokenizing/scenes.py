"""A small data set of coloured blocks with everything that tokenizers take, and configs for it."""

from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.data.samples import DataSample, Split
from anyseek.model.seam import Regions
from tests.model.training.shapes import write_shards

_NAMES = {0: "floor", 1: "block", 2: "wall"}


def scene(number: int) -> DataSample:
    """A block on a wall or a floor. Every third has no instances, and every fourth no normals."""
    generator = np.random.default_rng([3, number])
    labels = np.where(np.arange(32)[:, None] < 16, 2, 0) * np.ones((1, 32), np.int64)
    top, left = generator.integers(0, 16, 2)
    inside = np.zeros((32, 32), bool)
    inside[top : top + 12, left : left + 16] = True
    labels[inside] = 1
    colours = generator.integers(0, 256, (3, 3)).astype(np.uint8)
    vector = generator.normal(size=6)
    values: dict[str, Any] = {
        "rgb": colours[labels],
        "normal": np.full((32, 32, 3), 200, np.uint8),
        "depth": (2.0 + labels).astype(np.float32),
        "canny_edge": np.where(inside, 255, 0).astype(np.uint8),
        "semseg": Regions(labels, _NAMES),
        "instances": Regions(inside.astype(np.int64) * (number % 3 > 0), {}),
        "features": colours[labels].reshape(4, 8, 4, 8, 3).mean(axis=(1, 3)) / 255,
        "views": np.stack([vector, vector * 2]),
        "vector": vector / np.linalg.norm(vector),
    }
    if number % 4 == 0:
        del values["normal"]
    return DataSample(f"{number:04d}", values, {})


def write_scenes(folder: Path) -> None:
    """24 training samples in two shards, and 8 for validation."""
    scenes = [scene(number) for number in range(32)]
    write_shards(folder, {Split.TRAIN: scenes[:24], Split.VAL: scenes[24:]}, shard_samples=12)


VIT = {"enc_type": "vit_w16b1h2_enc", "dec_type": "vit_w16b1h2_dec", "latent_dim": 4, "codebook_size": 16}
PICTURE = VIT | {"n_channels": 3, "image_size": 16, "patch_size": 4}
DIFFUSION = PICTURE | {
    "dec_type": "unet_patched",
    "image_size": 32,
    "patch_size": 8,
    "beta_schedule": "linear",
    "prediction_type": "sample",
    "scheduler": "ddim",
    "unet_width": 32,
    "unet_blocks": 1,
}
VECTOR = {
    "n_channels": 6,
    "enc_type": "BottleneckMLP/B_1-Wi_16",
    "dec_type": "BottleneckMLP/B_1-Wi_16",
    "quant_type": "memcodes",
    "codebook_size": 8,
    "num_codebooks": 4,
    "latent_dim": 16,
}
FITTED = VECTOR | {
    "enc_type": "BottleneckMLP/B_1-Wi_4",
    "dec_type": "BottleneckMLP/B_1-Wi_4",
    "num_codebooks": 2,
    "latent_dim": 6,
}
# By a name for the family: the tokenizer, and the field that it is of.
FAMILIES: dict[str, tuple[dict[str, Any], str]] = {
    "picture": (PICTURE, "rgb"),
    "depth": (PICTURE | {"n_channels": 1}, "depth"),
    "labels": (PICTURE | {"n_channels": 4, "n_labels": 3}, "semseg"),
    "mask": (PICTURE | {"n_channels": 1, "out_conv": True}, "instances"),
    "map": (VIT | {"n_channels": 3, "patch_proj": False, "image_size": 16, "patch_size": 4}, "features"),
    "diffusion": (DIFFUSION, "rgb"),
    "vector": (VECTOR, "vector"),
    "fitted": (FITTED, "vector"),
}


def settings(data: Path, family: str = "picture", steps: int = 20) -> dict[str, Any]:
    """A whole config of a family."""
    tokenizer, field = FAMILIES[family]
    fitted = {"codes": {"fitted": True}, "loss": {"reconstruction": "centred_cosine"}}
    return (fitted if family == "fitted" else {}) | {
        "seed": 3,
        "total_samples": steps * 8,
        "modality": {"field": field},
        "tokenizer": dict(tokenizer),
        "data": {"folders": [{"folder": str(data)}]},
        "optimiser": {"base_rate": 0.1, "clip": 1.0, "warm_up_samples": 16},
        "batch": {"size": 8, "accumulation": 2},
        "precision": "float32",
        "average_decay": 0.9,
        "evaluation": {"every": 10, "samples": 8, "pictures": 2, "steps": 2},
        "run": {"checkpoint_every": 5, "report_every": 5, "workers": 0},
    }
