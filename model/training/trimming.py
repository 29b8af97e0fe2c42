"""A finished network and its vocabulary without the ids that none of its texts has: they would be a third of its bytes.

A vocabulary has bins for four axes, as the published one; palettes and metadata write those of two.
"""

import json
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from model.config import EmbeddingKind
from model.transformer import FourM

# The axes of bins (`v0=`, `v1=`, …) that each format writes, by checkpoint key.
_AXES = {"caption": (), "color_palette": (0, 1), "metadata": (0, 1), "det": (0, 1, 2, 3)}


def unused_pieces(keys: Collection[str], pieces: Collection[str]) -> set[str]:
    """Which pieces of a vocabulary are bins that the texts of `keys` never hold; none if a key is not known."""
    if not set(keys) <= _AXES.keys():
        return set()
    written = {axis for key in keys for axis in _AXES[key]}
    return {piece for axis in {0, 1, 2, 3} - written for piece in pieces if piece.startswith(f"v{axis}=")}


def trimmed(network: FourM, vocabulary: str) -> tuple[FourM, str]:
    """The same network with a smaller vocabulary (the JSON of `tokenizers`): other ids, the same texts."""
    told = json.loads(vocabulary)
    numbers: dict[str, int] = told["model"]["vocab"]
    keys = [key for key, row in _rows(network) if row is EmbeddingKind.SEQUENCE]
    unused = unused_pieces(keys, numbers)
    kept = sorted(number for piece, number in numbers.items() if piece not in unused)
    renumbered = {number: place for place, number in enumerate(kept)}
    told["model"]["vocab"] = {piece: renumbered[number] for piece, number in numbers.items() if number in renumbered}
    told["added_tokens"] = [
        {**token, "id": renumbered[token["id"]]} for token in told["added_tokens"] if token["id"] in renumbered
    ]
    return _with_rows(network, keys, torch.tensor(kept)), json.dumps(told, ensure_ascii=False)


def _rows(network: FourM) -> list[tuple[str, EmbeddingKind]]:
    config = network.config
    return [(key, config.row(key).kind) for key in dict.fromkeys((*config.domains_in, *config.domains_out))]


def _with_rows(network: FourM, keys: Collection[str], kept: Tensor) -> FourM:
    """A network whose tables of these keys have only the rows `kept` (n,)."""
    config = network.config
    rows = {key: replace(config.row(key), vocabulary=len(kept)) for key in keys}
    smaller = FourM(replace(config, modalities={**config.modalities, **rows}))
    tables = {
        f"{side}_embeddings.{key}.{table}.weight"
        for side in ("encoder", "decoder")
        for key in keys
        for table in ("token_emb", "to_logits")
    }
    stored = network.state_dict()
    smaller.load_state_dict({name: tensor[kept] if name in tables else tensor for name, tensor in stored.items()})
    return smaller.eval()
