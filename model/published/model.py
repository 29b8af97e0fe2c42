"""A published 4M network with the tokenizers and the vocabulary that belong to it, loaded as they are asked for."""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from model.checkpoints import load_fourm, load_tokenizer
from model.errors import UnknownModel
from model.published.names import SUPER_RESOLUTION, VOCABULARY, Role, published
from model.published.store import MODEL_FILE, folder_of, installed, vocabulary_file
from model.tokenizers.build import Tokenizer
from model.tokenizers.text import TextTokenizer
from model.transformer import FourM


def load_published(name: str, home: Path, dtype: torch.dtype = torch.float32) -> "PublishedModel":
    """The published network `name` as installed below `home`, in evaluation mode.

    Tokenizers, always float32, and the vocabulary are loaded on first use. Raises `UnknownModel`, also for the name of
    a tokenizer, `WeightsMissing`, `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`.
    """
    row = published(name)
    if row.role is Role.TOKENIZER:
        raise UnknownModel(f"{row.name} is a tokenizer, not a network")
    record = installed(row.name, home)
    return PublishedModel(row.name, record.fingerprint, load_fourm(folder_of(row.name, home) / MODEL_FILE, dtype), home)


class PublishedModel:
    """A published network and what is installed beside it; safe to use from several threads.

    `fingerprint` is that of the network's own files; `fingerprint_with` covers tokenizers too.
    """

    def __init__(self, name: str, fingerprint: str, network: FourM, home: Path) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.network = network
        self._home = home
        self._lock = threading.Lock()
        self._tokenizers: dict[str, Tokenizer] = {}
        self._text: TextTokenizer | None = None
        self._super_resolution: PublishedModel | None = None

    @property
    def text(self) -> TextTokenizer:
        """The vocabulary of all sequences. Raises `WeightsMissing`, `WeightsCorrupt`."""
        with self._lock:
            if self._text is None:
                installed(VOCABULARY, self._home)
                self._text = TextTokenizer.from_file(vocabulary_file(self._home))
            return self._text

    def tokenizer(self, name: str) -> Tokenizer:
        """The published tokenizer `name`. Raises as `load_published` does."""
        row = published(name)
        if row.role is not Role.TOKENIZER:
            raise UnknownModel(f"{row.name} is a network, not a tokenizer")
        with self._lock:
            if row.name not in self._tokenizers:
                installed(row.name, self._home)
                tokenizer = load_tokenizer(folder_of(row.name, self._home) / MODEL_FILE)
                # Whoever loads it may be in inference mode, and whoever uses it next may not.
                self._tokenizers[row.name] = tokenizer.requires_grad_(False)
            return self._tokenizers[row.name]

    def super_resolution(self) -> "PublishedModel":
        """The network from tokens at 224 pixels to tokens at 448, of the same dtype. Raises as `load_published`."""
        with self._lock:
            if self._super_resolution is None:
                dtype = self.network.mask_token.dtype
                self._super_resolution = load_published(SUPER_RESOLUTION, self._home, dtype)
            return self._super_resolution

    def fingerprint_with(self, tokenizers: Sequence[str]) -> str:
        """sha256 (64 hex digits) over the network and these tokenizers, in any order. Raises `WeightsMissing`."""
        parts = sorted(installed(published(name).name, self._home).fingerprint for name in tokenizers)
        return hashlib.sha256(" ".join([self.fingerprint, *parts]).encode()).hexdigest()
