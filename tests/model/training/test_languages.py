"""The map is learned from pairs of vectors; names come from CLDR; vectors are kept."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.training.languages import OTHERS, fit, kept_vectors, read_names


def test_the_map_finds_what_a_rotation_hides() -> None:
    generator = torch.Generator().manual_seed(0)
    known = F.normalize(torch.randn(2_048, WIDTH, generator=generator), dim=1)
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))
    language_map = fit(known, known @ rotation, epochs=2)
    new = F.normalize(torch.randn(64, WIDTH, generator=generator), dim=1)
    assert torch.equal((language_map(new) @ (new @ rotation).T).argmax(dim=1), torch.arange(64))


def test_names_of_other_languages_come_with_the_english_one(tmp_path: Path) -> None:
    for language in ("en", *OTHERS):
        folder = tmp_path / "annotations" / language
        folder.mkdir(parents=True)
        entries = {
            "🐕": {"default": ["x"], "tts": [f"dog {language}"]},
            "a": {"tts": ["letter"]},
            "🐈": {"default": []},
        }
        (folder / "annotations.json").write_text(json.dumps({"annotations": {"annotations": entries}}))
    names, pairs = read_names(tmp_path)
    assert names == ["dog en"]
    assert pairs == [(f"dog {language}", "dog en") for language in OTHERS]


def test_finished_vectors_are_not_computed_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> Tensor:
        asked.extend(texts)
        return torch.tensor([[float(len(text))] for text in texts])

    texts = ["x" * (number % 9 + 1) for number in range(1_500)]
    first = kept_vectors(texts, tmp_path / "v", encode)
    assert first[:, 0].tolist() == [len(text) for text in texts]
    (tmp_path / "v" / "0001024.npy").unlink()
    asked.clear()
    assert torch.equal(kept_vectors(texts, tmp_path / "v", encode), first)
    assert len(asked) == 1_500 - 1_024
