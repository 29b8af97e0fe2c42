"""Numbers derived from names: the rule by which both sides fill weights and large inputs."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

_KEPT = ("initted", "cluster_size")
_SPREAD = ("mod_emb", "mask_token", "register_tokens", "pos_emb")
_UNIT = ("quantize.codes", "_codebook.embed")


def normal(name: str, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Standard normal float32 numbers of `shape`, drawn with the seed crc32(name)."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return generator.standard_normal(tuple(shape)).astype(np.float32)


def fill_weights(network: nn.Module) -> None:
    """Fill every parameter and buffer of a network in place by the rule; tied ones by their first name."""
    learned = dict(network.named_parameters())
    entries = learned | dict(network.named_buffers())
    with torch.no_grad():
        for name, tensor in entries.items():
            if not _kept_as_made(name, learned=name in learned):
                tensor.copy_(torch.from_numpy(draw(name, tuple(tensor.shape))))


def draw(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The values of the state-dict entry `name`: float32 of `shape`."""
    last = name.rpartition(".")[2]
    z = normal(name, shape)
    if len(shape) <= 1:
        noise = np.float32(0.1) * z
        return np.float32(1) + noise if last == "weight" else noise
    return np.float32(_scale(name, last, shape)) * z


def _scale(name: str, last: str, shape: tuple[int, ...]) -> float:
    if last in _SPREAD or name.endswith(("token_emb.weight", "cls_emb.weight")):
        return 0.5
    if name.endswith(_UNIT):
        return 1.0
    if name.endswith(("to_k.weight", "to_v.weight")):
        return 1 / math.sqrt(shape[1])
    return 1 / math.sqrt(math.prod(shape[1:]))


def _kept_as_made(name: str, *, learned: bool) -> bool:
    """Sin-cos tables, norm biases that are not learned, and the counters of an EMA codebook are not drawn."""
    last = name.rpartition(".")[2]
    if last == "pos_emb":
        return not (learned and name.startswith(("encoder_embeddings.", "decoder_embeddings.")))
    return last in _KEPT or (last == "bias" and not learned)
