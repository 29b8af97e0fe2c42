"""A small data set of coloured shapes, as `anyseek data build` would have written it, and a config for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.checkpoints.files import save_checkpoint
from anyseek.model.data.contents import entry_of
from anyseek.model.data.samples import Caption, DataSample, Origin, Split, shard_key
from anyseek.model.data.shards import DataSet, Shard, ShardWriter, SourceRecord, write_manifest
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.run.config import DataConfig

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "yellow": (230, 220, 40)}
SHAPES = ("bar", "block", "column")
SAMPLES = {Split.TRAIN: 60, Split.VAL: 20}


def shape_sample(number: int) -> DataSample:
    """One coloured shape on white, with everything that can be said of it."""
    generator = np.random.default_rng([7, number])
    name = list(COLOURS)[int(generator.integers(len(COLOURS)))]
    shape = SHAPES[int(generator.integers(len(SHAPES)))]
    height, width = {"bar": (8, 24), "block": (16, 16), "column": (24, 8)}[shape]
    top, left = int(generator.integers(33 - height)), int(generator.integers(33 - width))
    picture = np.full((32, 32, 3), 255, np.uint8)
    picture[top : top + height, left : left + width] = COLOURS[name]
    inside = np.zeros((32, 32), np.uint8)
    inside[top : top + height, left : left + width] = 255
    box = Box(left / 32, top / 32, (left + width) / 32, (top + height) / 32)
    colour = np.array([COLOURS[name]], np.uint8)
    vector = np.array([*(colour[0] / 255.0), height / 32, top / 32, left / 32], np.float32)
    values: dict[str, Any] = {
        "rgb": picture,
        "canny_edge": inside,
        "depth": np.where(inside > 0, 1.0, 3.0).astype(np.float32),
        "caption": (
            Caption(f"a {name} {shape}", Origin.HUMAN),
            Caption(f"{shape} in {name} on white", Origin.TEMPLATE),
        ),
        "color_palette": (colour,),
        "metadata": Metadata({"original_width": 32.0, "brightness": float(picture.mean()), "contrast": 20.0}),
        "bounding_boxes": (LabelledBox(box, shape),),
        "features": picture.reshape(4, 8, 4, 8, 3).mean(axis=(1, 3)) / 255,
        "states": np.repeat(vector[None], 7, axis=0) * np.arange(1, 8)[:, None],
        "state_lengths": np.array([3, 4], np.int32),
        "tok_rgb": (picture[4::8, 4::8].reshape(16, 3) // 86).astype(np.int32) @ np.array([9, 3, 1]),
        "shape_global": vector / np.linalg.norm(vector),
        "said_global": vector[:5] / np.linalg.norm(vector[:5]),
        "rgb_pooled": 3 * np.stack([vector, vector + generator.normal(0, 0.1, 6)]),
        "caption_vectors": np.stack([vector[:5], vector[:5] + 0.1]),
    }
    return DataSample(f"{number:04d}", values, {"concept": name, "vendor": f"vendor {number % 2}"})


def write_shards(
    folder: Path,
    samples: Mapping[Split, Sequence[DataSample]],
    *,
    shard_samples: int = 16,
    weights: tuple[float, ...] = (1.0,),
) -> DataSet:
    """A data set in `folder`; with several weights its samples belong to as many sources in turn."""
    folder.mkdir(parents=True)
    splits: dict[Split, tuple[Shard, ...]] = {}
    numbers, counts = count(), [Counter[str]() for _ in weights]
    for split, own in samples.items():
        shards = []
        for first in range(0, len(own), shard_samples):
            path = folder / f"{split}-{first // shard_samples:06d}.tar"
            with ShardWriter(path) as writer:
                for sample in own[first : first + shard_samples]:
                    source = next(numbers) % len(weights)
                    counts[source][str(split)] += 1
                    writer.write(entry_of(shard_key(f"shapes{source}", sample.key), sample))
            shards.append(Shard(path.name, writer.samples, writer.size, writer.sha256))
        splits[split] = tuple(shards)
    sources = tuple(
        SourceRecord(f"shapes{n}", "made", "CC0", "made here", weight, dict(counts[n]))
        for n, weight in enumerate(weights)
    )
    dataset = DataSet(folder, "shapes", "0" * 64, 32, splits, {}, {}, sources, 0)
    write_manifest(dataset)
    return dataset


def write_data(folder: Path, *, weights: tuple[float, ...] = (1.0,)) -> DataSet:
    """The shapes in `folder`."""
    train, val = SAMPLES[Split.TRAIN], SAMPLES[Split.TRAIN] + SAMPLES[Split.VAL]
    parts = {Split.TRAIN: range(train), Split.VAL: range(train, val)}
    samples = {split: [shape_sample(number) for number in numbers] for split, numbers in parts.items()}
    return write_shards(folder, samples, weights=weights)


def data_config(*folders: Path, weights: tuple[float, ...] | None = None) -> DataConfig:
    """Data sets in windows of 4 shards."""
    rows = zip(folders, weights or (1.0,) * len(folders), strict=True)
    return DataConfig.model_validate({"folders": [{"folder": f, "weight": w} for f, w in rows], "window": 4})


def settings(data: Path) -> dict[str, Any]:
    """A whole config: pictures, captions and more in; captions, palettes and tokens out; 30 steps."""
    return {
        "seed": 3,
        "total_tokens": 30 * 8 * 48,
        "network": {"size": "tiny", "dim": 32, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 4},
        "text": {"words": 40},
        "data": {"folders": [{"folder": str(data)}]},
        "masking": {"weights": [1, 2], "input_tokens": [8, 24], "target_tokens": 24},
        "modalities": {
            "rgb": {"kind": "picture", "input": [5, 0.5], "grid": [4, 4], "patch": 8},
            "caption": {"kind": "text", "input": [0, 0.5], "target": 1, "max_length": 16},
            "color_palette": {"kind": "text", "input": [0, 0.5], "target": 1, "keep": "binary", "max_length": 12},
            "tok_rgb": {"kind": "tokens", "input": [0, 0.5], "target": 1, "grid": [4, 4], "vocabulary": 27},
        },
        "optimiser": {"base_rate": 0.1, "clip": 1.0, "warm_up_tokens": 4 * 8 * 48},
        "batch": {"size": 8, "accumulation": 2},
        "precision": "float32",
        "average_decay": 0.9,
        "evaluation": {"every": 15, "samples": 16},
        "run": {"checkpoint_every": 5, "report_every": 5, "workers": 0},
    }


def write_vector_tokenizer(path: Path, width: int = 6) -> None:
    """A tokenizer of the data's vectors, untrained: 4 codes out of 8."""
    blocks = "BottleneckMLP/B_1-Wi_16"
    config = TokenizerConfig(width, blocks, blocks, "memcodes", codebook_size=8, num_codebooks=4, latent_dim=16)
    tokenizer = VQVAE(config)
    tokenizer.initialise(1)
    save_checkpoint(tokenizer, path)


def with_recall(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config with the data's vectors as a target, whose tokenizer is written into `folder`, and recall of them."""
    write_vector_tokenizer(folder / "shapes.safetensors")
    config["modalities"]["shape_global"] = {
        "kind": "vector",
        "target": 1,
        "tokenizer": str(folder / "shapes.safetensors"),
    }
    queries = [["rgb"], ["caption", "tok_rgb"]]
    config["evaluation"] = {"every": 15, "samples": 20, "recall": [{"target": "shape_global", "queries": queries}]}
    return config


def with_contrast(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config with contrast of the data's vectors, and recall of them."""
    config = with_recall(config, folder)
    del config["modalities"]["shape_global"]["target"]
    config["modalities"]["states"] = {
        "kind": "states",
        "lengths": "state_lengths",
        "input": [0, 0.5],
        "width": 6,
        "max_length": 5,
    }
    config["contrast"] = {
        "targets": ["shape_global"],
        "negatives": 16,
        "other_share": 0.4,
        "own": {"rgb": ["rgb_pooled"], "states": ["caption_vectors"]},
        "rank": 4,
    }
    return config
