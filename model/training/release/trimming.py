"""Trim a finished network and its vocabulary to the tokens that its texts use: the rest would be half of its bytes.

Like the published one, the vocabulary has a thousand bins for each of four axes; palettes and metadata write only some
bins of two.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from anyseek.model.modalities.formats.bins import LARGEST_BIN, Bin, read_words
from anyseek.model.modalities.formats.color_palette import MOST_COLOURS
from anyseek.model.modalities.formats.metadata import FIELDS
from anyseek.model.network.config import EmbeddingKind
from anyseek.model.network.transformer import FourM

_ALL_BINS = range(LARGEST_BIN + 1)
# The bins that each format writes, by checkpoint key and axis (`v0=`, `v1=`, …).
_BINS: Mapping[str, Mapping[int, range]] = {
    "caption": {},
    "color_palette": {0: range(256), 1: range(1, MOST_COLOURS + 1)},
    "metadata": {0: _ALL_BINS, 1: range(len(FIELDS))},
    "det": dict.fromkeys(range(4), _ALL_BINS),
}
_WORDED = frozenset({"caption", "det"})  # formats with words; special tokens may be in any
_TABLES = (
    "encoder_embeddings.{}.token_emb.weight",
    "decoder_embeddings.{}.token_emb.weight",
    "decoder_embeddings.{}.to_logits.weight",
)


def may_hold(key: str, piece: str) -> bool:
    """Whether a text of the modality `key` may have this piece of a vocabulary; True where the key is not known."""
    if key not in _BINS:
        return True
    words = read_words(piece)
    word = words[0] if words else None
    if isinstance(word, Bin):
        return word.value in _BINS[key].get(word.axis, ())
    return word is None or key in _WORDED


def unused_pieces(keys: Collection[str], pieces: Collection[str]) -> set[str]:
    """The pieces of a vocabulary that the texts of `keys` never hold."""
    return {piece for piece in pieces if not any(may_hold(key, piece) for key in keys)}


def rows_of_use(network: FourM, vocabulary: str) -> dict[str, Tensor]:
    """The ids int64 (k,) that texts of a modality may hold, by name of each table with one row per token."""
    numbers: dict[str, int] = json.loads(vocabulary)["model"]["vocab"]
    found: dict[str, Tensor] = {}
    for key in _sequences(network):
        ids = torch.tensor(sorted(number for piece, number in numbers.items() if may_hold(key, piece)))
        found |= {table.format(key): ids for table in _TABLES}
    return found


def trimmed(network: FourM, vocabulary: str) -> tuple[FourM, str]:
    """The same network with a smaller vocabulary (the JSON of `tokenizers`): other ids, the same texts."""
    told = json.loads(vocabulary)
    numbers: dict[str, int] = told["model"]["vocab"]
    keys = _sequences(network)
    unused = unused_pieces(keys, numbers)
    kept = sorted(number for piece, number in numbers.items() if piece not in unused)
    renumbered = {number: place for place, number in enumerate(kept)}
    told["model"]["vocab"] = {piece: renumbered[number] for piece, number in numbers.items() if number in renumbered}
    told["added_tokens"] = [
        {**token, "id": renumbered[token["id"]]} for token in told["added_tokens"] if token["id"] in renumbered
    ]
    return _with_rows(network, keys, torch.tensor(kept)), json.dumps(told, ensure_ascii=False)


def without_targets(network: FourM, keys: Collection[str]) -> FourM:
    """The same network, which does not predict `keys`."""
    config = network.config
    smaller = FourM(replace(config, domains_out=tuple(key for key in config.domains_out if key not in keys)))
    stored = network.state_dict()
    smaller.load_state_dict({name: stored[name] for name in smaller.state_dict()})
    return smaller.eval()


def _sequences(network: FourM) -> list[str]:
    config = network.config
    keys = dict.fromkeys((*config.domains_in, *config.domains_out))
    return [key for key in keys if config.row(key).kind is EmbeddingKind.SEQUENCE]


def _with_rows(network: FourM, keys: Collection[str], kept: Tensor) -> FourM:
    """A network whose tables of these keys have only the rows `kept` (n,)."""
    config = network.config
    rows = {key: replace(config.row(key), vocabulary=len(kept)) for key in keys}
    smaller = FourM(replace(config, modalities={**config.modalities, **rows}))
    tables = {table.format(key) for key in keys for table in _TABLES}
    stored = network.state_dict()
    smaller.load_state_dict({name: tensor[kept] if name in tables else tensor for name, tensor in stored.items()})
    return smaller.eval()
