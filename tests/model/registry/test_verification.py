"""Verifying a bundled model: every input and every output is tried, and a broken one is named."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.errors import BadDevice, CheckpointMismatch, WeightsCorrupt
from anyseek.model.fourm.bundled.layout import INPUTS, TEXTS
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.model import FourMModel
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.registry import verification
from anyseek.model.registry.verification import verify_embedder, verify_model
from anyseek.model.seam import FloatArray, Sample
from tests.model.pulled import HOME, or_skip


@pytest.fixture(scope="module")
def embedder(random_bundle: Path) -> FourMModel:
    """A bundle of random weights, which every test leaves as it is."""
    with or_skip():
        return load_bundled("4m-tiny", HOME, random_bundle)


@contextmanager
def _without_numbers(embedder: FourMModel, parameter: str) -> Iterator[None]:
    """A parameter of the network is NaN for as long as the block lasts."""
    tensor = embedder.parts.network.get_parameter(parameter).data
    kept = tensor.clone()
    tensor.fill_(torch.nan)
    yield
    tensor.copy_(kept)


class _Watched(FourMModel):
    """Remembers which modalities it was given."""

    def embed(self, samples, spaces):
        self.given = getattr(self, "given", set()) | {name for sample in samples for name in sample.values}
        return super().embed(samples, spaces)


def test_every_input_and_every_output_is_tried(embedder: FourMModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "__class__", _Watched)
    said: list[str] = []
    assert verify_embedder(embedder, said.append) == []
    assert embedder.given == set(INPUTS)
    assert said == [
        f"4m-tiny  right  fingerprint {embedder.fingerprint}  takes {', '.join(sorted(INPUTS))}  "
        f"predicts {', '.join(sorted(TEXTS))}"
    ]


def test_an_input_that_makes_no_vector_is_named(embedder: FourMModel) -> None:
    with _without_numbers(embedder, "encoder_embeddings.normal_map.proj.weight"):
        complaints = verify_embedder(embedder, lambda line: None)
    assert complaints == [f"4m-tiny makes no unit vector of {space} from normal" for space in embedder.embedding.spaces]


def test_an_output_that_is_no_numbers_is_named(embedder: FourMModel) -> None:
    with (
        _without_numbers(embedder, "decoder_embeddings.metadata.to_logits.weight"),
        pytest.raises(CheckpointMismatch, match=r"metadata\.to_logits\.weight of 4m-tiny holds numbers"),
    ):
        verify_embedder(embedder, lambda line: None)


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
    [(_OwnFingerprint, ""), (_NoNumbers, "makes no unit vector"), (_Failing, "its weights are not its own")],
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
