"""Texts that MiniLM reads keep its vectors; others get those of the encoder of languages, mapped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from anyseek.model.encoders.languages import (
    AnyLanguage,
    LanguageMap,
    is_foreign,
    load_any_language,
    load_language_map,
    save_language_map,
)
from anyseek.model.encoders.minilm import WIDTH, MiniLM
from anyseek.model.encoders.pull import LANGUAGES, encoders_folder
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt
from anyseek.model.files import file_digest

ENGLISH, OTHER = "a dog on a beach", "ein Hund am Strand"


class Multilingual(nn.Module):
    """Reads the first text as MiniLM does, and the others as something else."""

    def __init__(self, minilm: MiniLM) -> None:
        super().__init__()
        self.minilm = minilm

    def forward(self, texts: Sequence[str]) -> Tensor:
        vectors = self.minilm(texts).pooled
        is_english = torch.tensor([text == ENGLISH for text in texts])[:, None]
        return torch.where(is_english, vectors, -vectors)


class Same(nn.Module):
    def forward(self, vectors: Tensor) -> Tensor:
        return vectors


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", *f"{ENGLISH} red car dogs".split()])}
    pieces = {word: n for n, word in enumerate({*words, *(f"##{a}" for a in "abcdefghijklmnopqrstuvwxyzäöüß")})}
    pieces |= {letter: len(pieces) + n for n, letter in enumerate("bcefghijklmnopqrstuvwxyz") if letter not in pieces}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    return MiniLM(tokenizer).eval()


@torch.inference_mode()
def test_english_keeps_every_bit_and_other_texts_have_one_state(minilm: MiniLM) -> None:
    encoder = AnyLanguage(minilm, cast(Any, Multilingual(minilm)), cast(Any, Same()))
    read, plain = encoder([ENGLISH, OTHER]), minilm([ENGLISH, OTHER])
    assert torch.equal(read.pooled[0], plain.pooled[0])
    assert torch.equal(read.states[0], plain.states[0])
    assert torch.equal(read.pooled[1], -plain.pooled[1])
    assert read.lengths == (plain.lengths[0], 1)
    assert torch.equal(read.states[1, 0], read.pooled[1])
    assert read.unused[1].tolist() == [False] + [True] * (read.states.shape[1] - 1)
    assert encoder.device == minilm.device


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        (ENGLISH, False),
        ("a red car", False),
        ("dogs", False),
        ("", False),
        ("2024", False),
        ("zzz", False),  # one word may be a name
        (OTHER, True),
        ("一只狗在海滩上", True),
        ("собака", True),
        ("a собака on a beach", False),
    ],
)
def test_what_seems_foreign(minilm: MiniLM, text: str, foreign: bool) -> None:
    assert is_foreign(minilm, text) is foreign


def test_a_map_is_the_one_that_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved, vectors = LanguageMap().eval(), F.normalize(torch.randn(4, WIDTH), dim=1)
    save_language_map(tmp_path / "map", saved)
    assert torch.allclose(load_language_map(tmp_path / "map")(vectors), saved(vectors), atol=0.02)
    (tmp_path / "map").write_bytes(b"{}")
    with pytest.raises(WeightsCorrupt, match="holds no map of languages"):
        load_language_map(tmp_path / "map")
    saved.wide = nn.Linear(WIDTH, 2)
    save_language_map(tmp_path / "map", saved)
    with pytest.raises(CheckpointMismatch, match="holds no map of languages"):
        load_language_map(tmp_path / "map")


def test_without_the_encoder_of_languages_minilm_reads_alone(minilm: MiniLM, tmp_path: Path) -> None:
    assert load_any_language(minilm, LanguageMap(), tmp_path) is minilm
    assert load_any_language(minilm, None, tmp_path) is minilm


def test_a_pulled_file_that_has_changed_is_refused(minilm: MiniLM, tmp_path: Path) -> None:
    folder = encoders_folder(tmp_path, LANGUAGES)
    folder.mkdir(parents=True)
    for source in LANGUAGES.sources:
        (folder / source.target).write_bytes(b"x")
    digest = file_digest(folder / LANGUAGES.sources[0].target)
    entries = [f'"{source.target}": {{"sha256": "{digest}"}}' for source in LANGUAGES.sources]
    (folder / "manifest.json").write_text(f"{{{', '.join(entries)}}}")
    with pytest.raises(WeightsCorrupt, match="run `anyseek models pull languages`"):
        load_any_language(minilm, LanguageMap(), tmp_path)
