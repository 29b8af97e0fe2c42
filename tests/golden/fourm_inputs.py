"""The recorded inputs of a 4M case as batches of modalities."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anyseek.model.network.config import EmbeddingKind, FourMConfig, ModalityConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from tests.golden.cases import Arrays, Case, GoldenCaseInvalid
from tests.golden.weights import normal

_VECTOR_SCALE = np.float32(0.2)


def generation_seed(case: Case) -> str:
    """The name that inputs of a generation are drawn from; the manifest gives it with the network's forward case."""
    forward = case.manifest_of(f"{case.tag}.forward")
    if not isinstance(forward, dict) or "seed_name" not in forward:
        raise GoldenCaseInvalid(f"no manifest has the seed_name of {case.tag}.forward, which {case.name} needs")
    return f"input:{forward['seed_name']}:gen"


def modalities_under(arrays: Arrays, prefix: str) -> list[str]:
    """The modalities that have arrays `<prefix>in/<modality>/…`, in file order."""
    start = f"{prefix}in/"
    return list(dict.fromkeys(name[len(start) :].split("/")[0] for name in arrays if name.startswith(start)))


def recorded_inputs(
    config: FourMConfig, arrays: Arrays, prefix: str, keys: Sequence[str], seed: str
) -> dict[str, ModalityInput]:
    """The encoder's side of those modalities among `keys` that it takes.

    Ids and masks are recorded under `<prefix>in/`; pixels and vectors are drawn from names that begin with `seed`.
    """
    inputs = {}
    for key in keys:
        if key not in config.domains_in:
            continue
        place = f"{prefix}in/{key}/"
        mask = torch.from_numpy(arrays[place + "input_mask"])
        inputs[key] = ModalityInput(_values(config.row(key), arrays, place, seed), mask)
    return inputs


def recorded_targets(
    config: FourMConfig, arrays: Arrays, prefix: str, keys: Sequence[str]
) -> dict[str, ModalityTarget]:
    """The decoder's side of those modalities among `keys` that it predicts."""
    targets = {}
    for key in keys:
        if key not in config.domains_out:
            continue
        place = f"{prefix}in/{key}/"
        ids = torch.from_numpy(arrays[place + "tensor"]).long()
        targets[key] = ModalityTarget(ids, torch.from_numpy(arrays[place + "target_mask"]))
    return targets


def _values(row: ModalityConfig, arrays: Arrays, place: str, seed: str) -> Tensor:
    batch, entries = arrays[place + "input_mask"].shape
    if row.kind is EmbeddingKind.PIXELS:
        if row.grid is None or row.patch is None:
            raise GoldenCaseInvalid(f"{row.key} has no size")
        height, width = (side * row.patch for side in row.grid)
        name = row.key.partition("@")[0]
        return torch.from_numpy(normal(f"{seed}:{name}", (batch, row.channels, height, width)))
    if row.kind is EmbeddingKind.SEQUENCE_EMBEDDING:
        name = row.key.removesuffix("_caption")
        if place + "src_row" not in arrays:
            vectors = normal(f"{seed}:{name}", (batch, entries, row.width))
            return torch.from_numpy(_VECTOR_SCALE * vectors)
        vectors = normal(f"{seed}:{name}", (batch, row.max_length, row.width))
        return _reordered(torch.from_numpy(_VECTOR_SCALE * vectors), arrays[place + "src_row"].astype(np.int64))
    return torch.from_numpy(arrays[place + "tensor"]).long()


def _reordered(vectors: Tensor, source: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tensor:
    """Row i of the result is row source[b, i] of vectors (B, n, width), zeros where that is -1."""
    rows = torch.from_numpy(source)
    batch = torch.arange(len(rows))[:, None]
    return vectors[batch, rows.clamp_min(0)].masked_fill((rows < 0)[..., None], 0.0)
