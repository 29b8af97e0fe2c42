"""Verifying a bundled model: every input and every output is tried, and a broken one is named."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anyseek.model.errors import BadDevice, CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.fourm.bundled.bundle import NETWORK
from anyseek.model.fourm.bundled.layout import INPUTS, TEXTS
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.model import FourMModel
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.registry import verification
from anyseek.model.registry.verification import verify_embedder, verify_model
from anyseek.model.seam import FloatArray, Sample
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
    with pytest.raises(CheckpointMismatch, match=r"metadata\.to_logits\.weight of 4m-tiny holds numbers"):
        verify_embedder(_load(folder), lambda line: None)
    assert _load(folder).embed([Sample({"caption": "a"})], ["visual_global"])["visual_global"].shape == (1, 1280)


class _Elsewhere(HashingEmbedder):
    """Has other vectors of one modality, as on a device that rounds too much."""

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        found = super().embed(samples, spaces)
        for rows in found.values():
            for row, sample in zip(rows, samples, strict=True):
                row[0] += 0.1 if "caption" in sample.values else 0.0
                row /= np.linalg.norm(row)
        return found


@pytest.mark.parametrize("other", [HashingEmbedder, _Elsewhere])
def test_vectors_of_another_device_are_compared_with_those_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: type[HashingEmbedder]
) -> None:
    monkeypatch.setattr(
        verification,
        "load_embedder",
        lambda name, home, device="cpu": HashingEmbedder() if device == "cpu" else other(),
    )
    said: list[str] = []
    complaints = verify_model("hashing:device=cuda", tmp_path, said.append)
    if other is HashingEmbedder:
        assert complaints == []
        assert said[-1].startswith("hashing  right on cuda  lowest cosine with the CPU 1.0")
    else:
        assert len(complaints) == 1
        assert "on cuda has other vectors" in complaints[0]
        assert "at least 0.9999 is right" in complaints[0]


class _OwnFingerprint(_Elsewhere):
    """As in bfloat16 on a card: not to be compared, but to be run."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = "f" * 64


class _NoNumbers(_OwnFingerprint):
    """Runs, to no avail."""

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return {space: rows * np.nan for space, rows in super().embed(samples, spaces).items()}


class _Failing(HashingEmbedder):
    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        raise WeightsCorrupt("its weights are not its own")


@pytest.mark.parametrize(
    ("other", "complains"),
    [(_OwnFingerprint, ""), (_NoNumbers, "makes no unit vector"), (_Failing, "on cuda: its weights are not its own")],
)
def test_a_model_is_run_on_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: type[HashingEmbedder], complains: str
) -> None:
    monkeypatch.setattr(
        verification,
        "load_embedder",
        lambda name, home, device="cpu": (HashingEmbedder if device == "cpu" else other)(),
    )
    said: list[str] = []
    complaints = verify_model("hashing:device=cuda", tmp_path, said.append)
    assert bool(complaints) == bool(complains)
    assert all(complains in complaint for complaint in complaints)
    assert any("right on cuda" in line for line in said) == (not complains)


def test_a_device_that_is_not_there_is_no_fault_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, home: Path, device: str = "cpu") -> HashingEmbedder:
        if device != "cpu":
            raise BadDevice("no card")
        return HashingEmbedder()

    monkeypatch.setattr(verification, "load_embedder", load)
    with pytest.raises(BadDevice):
        verify_model("hashing", tmp_path, lambda line: None, "cuda")


def test_auto_without_a_card_is_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    said: list[str] = []
    assert verify_model("hashing", tmp_path, said.append, "auto") == []
    assert len(said) == 1, "there is nothing to compare the CPU with"
    assert "auto" not in said[0]
