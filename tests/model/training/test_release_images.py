"""What a bundle takes from tokenizers of images: which are refused, and what labels are called."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.checkpoints.files import load_image_decoder, save_checkpoint
from anyseek.model.data.contents import entry_of
from anyseek.model.data.samples import DataSample, Split
from anyseek.model.data.shards import DataSet, Shard, ShardWriter, SourceRecord, write_manifest
from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.seam import Regions
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.config import TrainingConfig, read_config
from anyseek.model.training.release import dense_targets, write_decoders
from anyseek.model.training.run.errors import TrainingConfigInvalid
from tests.random_bundle import random_image_tokenizer

Written = Callable[[dict[str, Any]], Path]


def _write_rooms(folder: Path) -> None:
    """Two training samples with regions, of which each has names that the other lacks, and one without."""
    folder.mkdir()
    maps = [
        Regions(np.array([[0, 1], [1, 2]]), {1: "wall", 2: "chair"}),
        Regions(np.array([[1, 4]]), {1: "wall", 4: "lamp"}),
    ]
    samples = [DataSample(str(place), {"semseg": one}) for place, one in enumerate(maps)]
    path = folder / "train-000000.tar"
    with ShardWriter(path) as writer:
        for sample in [*samples, DataSample("2", {"canny_edge": np.zeros((2, 2), np.uint8)})]:
            writer.write(entry_of(f"rooms/{sample.key}", sample))
    splits = {Split.TRAIN: (Shard(path.name, writer.samples, writer.size, writer.sha256),)}
    source = SourceRecord("rooms", "made", "CC0", "made here", 1.0, {"train": 3})
    write_manifest(DataSet(folder, "rooms", "0" * 64, 32, splits, {}, {}, (source,), 0))


@pytest.fixture
def told(config: dict[str, Any], written: Written, tmp_path: Path) -> Callable[[str, Path], TrainingConfig]:
    """A config whose network predicts a modality by the tokenizer in a file."""
    _write_rooms(tmp_path / "rooms")

    def tell(name: str, path: Path) -> TrainingConfig:
        config["data"] = {"folders": [{"folder": str(tmp_path / "rooms")}]}
        row = {"kind": "tokens", "target": 1, "grid": [4, 4], "vocabulary": 32, "tokenizer": str(path)}
        config["modalities"] = {"rgb": config["modalities"]["rgb"], f"tok_{name}": row}
        return read_config(written(config))

    return tell


def _network(name: str) -> FourMConfig:
    row = ModalityConfig(f"tok_{name}", EmbeddingKind.IMAGE_TOKENS, (4, 4), vocabulary=32)
    return FourMConfig((), (row.key,), dim=16, num_heads=2, modalities={row.key: row})


@torch.inference_mode()
def test_decoders_are_written_and_labels_called_as_in_the_data(
    told: Callable[[str, Path], TrainingConfig], tmp_path: Path
) -> None:
    path, to = tmp_path / "semseg-tokenizer.safetensors", tmp_path / "to"
    to.mkdir()
    (to / "depth.safetensors").write_text("of a release before")
    whole = random_image_tokenizer("semseg")
    save_checkpoint(whole, path)
    config = told("semseg", path)
    assert dense_targets(config) == {"semseg": path}
    assert write_decoders(config, _network("semseg"), to) == {"semseg": {1: "wall", 2: "chair", 4: "lamp"}}
    assert [one.name for one in to.iterdir()] == ["semseg.safetensors"]
    tokens = torch.arange(32).view(2, 4, 4)
    found = load_image_decoder(to / "semseg.safetensors").decode_tokens(tokens)
    torch.testing.assert_close(found, whole.decode_tokens(tokens), rtol=0.1, atol=0.05)


def test_as_many_labels_as_coco_has_are_coco_s(told: Callable[[str, Path], TrainingConfig], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.safetensors"
    shape = replace(random_image_tokenizer("semseg").config, n_labels=134)
    save_checkpoint(type(random_image_tokenizer("semseg"))(shape), path)
    classes = write_decoders(told("semseg", path), _network("semseg"), tmp_path)
    assert classes["semseg"][1] == "person"
    assert len(classes["semseg"]) == 133


def test_a_tokenizer_of_something_else_is_refused(told: Callable[[str, Path], TrainingConfig], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.safetensors"
    config = told("depth", path)
    save_checkpoint(random_image_tokenizer("normal"), path)
    with pytest.raises(TrainingConfigInvalid, match="is not a tokenizer of depth: a tokenizer of 3 channels does not"):
        write_decoders(config, _network("depth"), tmp_path)
    save_checkpoint(random_image_tokenizer("depth", codes=16), path)
    with pytest.raises(TrainingConfigInvalid, match="makes 4 x 4 tokens of 16 codes; the network's tok_depth has 4 x"):
        write_decoders(config, _network("depth"), tmp_path)
    mlp = "BottleneckMLP/B_1-Wi_8"
    save_checkpoint(VQVAE(TokenizerConfig(6, mlp, mlp, "memcodes", 8, num_codebooks=2, latent_dim=4)), path)
    with pytest.raises(TrainingConfigInvalid, match="is a VQVAE; a bundle can only have decoders of ImageVQVAE"):
        write_decoders(config, _network("depth"), tmp_path)
