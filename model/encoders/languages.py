"""Words in any language: sentence vectors in the space of MiniLM, an encoder of English, from one of many languages.

A small network maps the vectors of multilingual-e5-small to those of MiniLM for the same words in English, so that no
item is embedded anew. A text that both read alike keeps the vector of MiniLM to the bit, which is so for English.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anyseek.model.checkpoints.quantized import dequantize, quantize
from anyseek.model.encoders.minilm import WIDTH, MiniLM, TextStates
from anyseek.model.encoders.multilingual import MultilingualE5, load_multilingual
from anyseek.model.encoders.pull import LANGUAGES, check_encoders, is_pulled
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt

FILE = "languages.safetensors"
HIDDEN = 512
# The least cosine of what both encoders read: so alike are 0.999 of English captions, and few in other languages.
_ALIKE = 0.4
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = "\u024f"  # the last letter of Latin alphabets
_FEW, _SPLIT = 3, 0.4  # the words of a text, and the share of them that MiniLM splits in an unknown language


class LanguageMap(nn.Module):
    """A linear map with a correction by one hidden layer; `mean` (384,) is that of the vectors it was fitted to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors (B, 384) of MiniLM, from those of multilingual-e5-small."""
        x = vectors - self.get_buffer("mean")
        # e5's vectors differ little from each other: cosines of unrelated texts are about 0.8.
        hidden = F.dropout(F.gelu(self.wide(10 * x)), 0.1, self.training)
        return F.normalize(self.linear(x) + self.narrow(hidden), dim=1)


class AnyLanguage(nn.Module):
    """MiniLM for texts in many languages; of other languages only the sentence vectors are as MiniLM's."""

    def __init__(self, minilm: MiniLM, multilingual: MultilingualE5, language_map: LanguageMap) -> None:
        super().__init__()
        self.minilm, self.multilingual, self.map = minilm, multilingual, language_map

    @property
    def device(self) -> torch.device:
        return self.minilm.device

    def forward(self, texts: Sequence[str]) -> TextStates:
        """As of `MiniLM`. A text that the encoders do not read alike has one state, its sentence vector."""
        read = self.minilm(texts)
        mapped = self.map(self.multilingual(texts))
        is_other = (mapped * read.pooled).sum(dim=1) < _ALIKE
        pooled = torch.where(is_other[:, None], mapped, read.pooled)
        states, unused = read.states.clone(), read.unused.clone()
        states[is_other, 0] = mapped[is_other]
        unused[is_other, 1:] = True
        lengths = [1 if other else length for other, length in zip(is_other.tolist(), read.lengths, strict=True)]
        return TextStates(states, unused, pooled, tuple(lengths))


def load_any_language(minilm: MiniLM, language_map: LanguageMap | None, home: Path) -> MiniLM | AnyLanguage:
    """MiniLM alone without a map, or while `anyseek models pull languages` was not run for `home`.

    Raises `WeightsCorrupt` for pulled files that have changed since.
    """
    if language_map is None or not is_pulled(home, LANGUAGES):
        return minilm
    folder = check_encoders(home, LANGUAGES)
    weights, tokenizer = (folder / source.target for source in LANGUAGES.sources)
    return AnyLanguage(minilm, load_multilingual(weights, tokenizer), language_map)


def is_foreign(minilm: MiniLM, text: str) -> bool:
    """Whether a text is probably not in English: most of its letters are not Latin, or MiniLM splits many of its words.

    Of English captions 0.0009 seem foreign, of the others 0.95 in German, 0.77 in Spanish and 0.33 in French.
    """
    words: list[str] = _WORD.findall(text)
    letters = "".join(words)
    if 2 * sum(letter > _LATIN for letter in letters) > len(letters):
        return True
    encoded = minilm.tokenizer.encode_batch_fast(words, add_special_tokens=False) if len(words) >= _FEW else ()
    return sum(sum(word.attention_mask) > 1 for word in encoded) > _SPLIT * len(words)


def save_language_map(path: Path, language_map: LanguageMap) -> None:
    """Write a map, its matrices as int8."""
    save_file(quantize(language_map.state_dict()), path)


def load_language_map(path: Path) -> LanguageMap:
    """Load a map as float32. Raises `WeightsCorrupt`, `CheckpointMismatch`."""
    language_map = LanguageMap()
    try:
        language_map.load_state_dict(dequantize(load_file(path)))
    except (OSError, SafetensorError) as error:
        raise WeightsCorrupt(f"{path} holds no map of languages: {error}") from error
    except RuntimeError as error:
        raise CheckpointMismatch(f"{path} holds no map of languages: {' '.join(str(error).split())}") from error
    return language_map.eval().requires_grad_(False)
