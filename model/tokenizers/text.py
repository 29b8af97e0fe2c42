"""Text tokenizer for the words, sentinels and coordinate bins of all sequence modalities. Does not import torch."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from anyseek.model.errors import WeightsCorrupt, WeightsMissing

_SENTINEL = re.compile(r"\[S_(\d+)\]")


class TextTokenizer:
    """A HuggingFace `tokenizers` vocabulary with the special tokens of 4M.

    `pad_id`, `unknown_id`, `start_id` and `end_id` are the ids of `[PAD]`, `[UNK]`, `[SOS]` and `[EOS]`; `sentinel_ids`
    are the ids of `[S_0]`, `[S_1]`, …
    """

    def __init__(self, tokenizer: Tokenizer, source: str) -> None:
        self._tokenizer = tokenizer
        self._source = source
        self.pad_id = self._special_id("[PAD]")
        self.unknown_id = self._special_id("[UNK]")
        self.start_id = self._special_id("[SOS]")
        self.end_id = self._special_id("[EOS]")
        numbered = {
            int(match[1]): id_ for token, id_ in self.vocabulary.items() if (match := _SENTINEL.fullmatch(token))
        }
        if sorted(numbered) != list(range(len(numbered))) or len(numbered) < 2:
            raise WeightsCorrupt(f"the vocabulary of {source} must have consecutive sentinels [S_0], [S_1], …")
        self.sentinel_ids = tuple(numbered[number] for number in range(len(numbered)))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a vocabulary file (JSON). Raises `WeightsMissing`, `WeightsCorrupt`."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise WeightsMissing(f"there is no vocabulary file {path}") from error
        except UnicodeDecodeError as error:
            raise WeightsCorrupt(f"the vocabulary file {path} is not UTF-8: {error}") from error
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises only Exception
            raise WeightsCorrupt(f"{path} is not a vocabulary file of `tokenizers`: {error}") from error
        return cls(tokenizer, str(path))

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, including added tokens."""
        size: int = self._tokenizer.get_vocab_size()
        return size

    @property
    def vocabulary(self) -> dict[str, int]:
        """Ids by token, including added tokens."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return vocabulary

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, including special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def id_of(self, token: str) -> int | None:
        """Id of a token, None if it is not in the vocabulary."""
        id_: int | None = self._tokenizer.token_to_id(token)
        return id_

    def _special_id(self, token: str) -> int:
        id_ = self.id_of(token)
        if id_ is None:
            raise WeightsCorrupt(f"the vocabulary of {self._source} lacks {token}")
        return id_
