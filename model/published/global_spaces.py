"""The spaces that a published network predicts vectors of, and how a space's vector comes from logits of tokens.

`dinov2_global` and `imagebind_global` have 16 tokens that an MLP tokenizer decodes. There is no token for a whole CLIP
vector: the space `clip` is the mean of the predicted 14 x 14 map of CLIP features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from model.config import ConfigInvalid, FourMConfig
from model.embedder import Decoding
from model.published.codecs import FeatureTokens, VectorTokens
from model.published.modalities import targets_of
from model.published.model import PublishedModel
from model.published.store import State, state_of
from model.tokenizers.image_vqvae import ImageVQVAE
from model.tokenizers.vqvae import VQVAE

_NAMES = ("dinov2_global", "imagebind_global", "clip")


@dataclass(frozen=True)
class GlobalSpace:
    """Target `key` of a network, with token grid (rows, columns), and the tokenizer of that name."""

    key: str
    grid: tuple[int, int]
    tokenizer_name: str
    tokenizer: VQVAE | ImageVQVAE

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self.tokenizer.config.n_channels

    def vectors(self, logits: Tensor, decoding: Decoding) -> Tensor:
        """Unit vectors float32 (B, d) of logits (B, n, V) of all its tokens."""
        if isinstance(self.tokenizer, ImageVQVAE):
            # (B, n, V) -> (B, rows, columns, V)
            logits = logits.reshape(len(logits), *self.grid, logits.shape[2])
        if decoding is Decoding.HARD:
            decoded = self.tokenizer.decode_tokens(logits.argmax(dim=-1))
        else:
            decoded = self.tokenizer.decode_probabilities(logits.float().softmax(dim=-1))
        # (B, d, rows, columns) -> (B, d); vectors already are (B, d)
        return F.normalize(decoded.flatten(2).mean(dim=2) if decoded.ndim > 2 else decoded, dim=1)


def global_spaces(model: PublishedModel, home: Path) -> Mapping[str, GlobalSpace]:
    """The spaces by name: those whose target the network has and whose tokenizer is installed.

    Raises `ConfigInvalid` where a tokenizer is of another class than its name says, and what loading one raises.
    """
    return {
        name: _space(model, key, tokenizer)
        for name, (key, tokenizer) in _targets(model.network.config).items()
        if state_of(tokenizer, home) is State.INSTALLED
    }


def _targets(config: FourMConfig) -> Mapping[str, tuple[str, str]]:
    """Checkpoint key and name of the tokenizer of each space."""
    found = {}
    for name, form in targets_of(config).items():
        if name in _NAMES and isinstance(form.codec, VectorTokens | FeatureTokens):
            found[name] = form.key, form.codec.tokenizer
    return {name: found[name] for name in _NAMES if name in found}


def tokenizers_of_spaces(config: FourMConfig) -> tuple[str, ...]:
    """Names of the tokenizers that decode the spaces of a network."""
    return tuple(tokenizer for _, tokenizer in _targets(config).values())


def _space(model: PublishedModel, key: str, name: str) -> GlobalSpace:
    tokenizer, grid = model.tokenizer(name), model.network.config.row(key).grid
    if grid is None or not isinstance(tokenizer, VQVAE | ImageVQVAE):
        raise ConfigInvalid(f"{name} decodes no vectors or maps, as {key} needs")
    return GlobalSpace(key, grid, name, tokenizer)
