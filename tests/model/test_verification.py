"""Verifying a bundled model: every input and every output is tried, and a broken one is named."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model.errors import CheckpointMismatch, WeightsMissing
from model.fourm.bundled.bundle import NETWORK
from model.fourm.bundled.layout import INPUTS, TEXTS
from model.fourm.bundled.loading import load_bundled
from model.fourm.model import FourMModel
from model.seam import Sample
from model.verification import verify_embedder
from tests.random_bundle import write_manifest, write_random_bundle

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "4m-tiny"
    write_random_bundle(folder)
    return folder


def _load(folder: Path) -> FourMModel:
    try:
        return load_bundled("4m-tiny", HOME, folder)
    except WeightsMissing as error:
        pytest.skip(str(error))


def _without_numbers(folder: Path, tensor: str) -> None:
    """Make a tensor of the network, a scale or a bias, NaN."""
    path = folder / NETWORK
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors[tensor] = torch.full_like(tensors[tensor], torch.nan)
    save_file(tensors, path, metadata)
    write_manifest(folder)


class _Watched(FourMModel):
    """Remembers which modalities it was given."""

    def embed(self, samples, spaces):  # type: ignore[no-untyped-def]
        self.given = getattr(self, "given", set()) | {name for sample in samples for name in sample.values}
        return super().embed(samples, spaces)


def test_every_input_and_every_output_is_tried(whole: Path) -> None:
    embedder = _load(whole)
    embedder.__class__ = _Watched
    said: list[str] = []
    assert verify_embedder(embedder, said.append) == []
    assert embedder.given == set(INPUTS)  # type: ignore[attr-defined]
    assert said == [
        f"4m-tiny  right  fingerprint {embedder.fingerprint}  takes {', '.join(sorted(INPUTS))}  "
        f"predicts {', '.join(sorted(TEXTS))}"
    ]


def test_an_input_that_makes_no_vector_is_named(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "4m-tiny")
    _without_numbers(folder, "encoder_embeddings.normal_map.proj.weight:scale")
    complaints = verify_embedder(_load(folder), lambda line: None)
    assert complaints == [
        f"4m-tiny makes no unit vector of {space} from normal" for space in _load(folder).embedding.spaces
    ]


def test_an_output_that_is_no_numbers_is_named(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "4m-tiny")
    _without_numbers(folder, "decoder_embeddings.metadata.to_logits.weight:scale")
    with pytest.raises(CheckpointMismatch, match="a trial pass of 4m-tiny gives logits of metadata"):
        verify_embedder(_load(folder), lambda line: None)
    assert _load(folder).embed([Sample({"caption": "a"})], ["visual_global"])["visual_global"].shape == (1, 1280)
