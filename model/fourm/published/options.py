"""Options that may follow the name of a published network. Does not import torch.

For example `4M-21_B:token_budget=98,dtype=bfloat16`. A collection stores its model by name, so every option that
changes vectors is part of the name. Of these, predicting heeds `dtype` alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anyseek.model.errors import UnknownModel
from anyseek.model.fourm.published.names import OWNER, PUBLISHED, Role
from anyseek.model.seam import Decoding


class Precision(StrEnum):
    """The dtype that the network computes in; bfloat16 is faster on processors that support it."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class EmbedderOptions:
    """How a network embeds. `token_budget` is the most tokens to encode of each image-like modality, None for all."""

    decoding: Decoding = Decoding.SOFT
    token_budget: int | None = None
    dtype: Precision = Precision.FLOAT32

    def told(self) -> tuple[str, ...]:
        """Every option in words, for a fingerprint."""
        return f"decoding {self.decoding}", f"token budget {self.token_budget}", f"dtype {self.dtype}"


def is_published(name: str) -> bool:
    """Whether `name`, with or without options, is that of a published network that predicts from pictures."""
    row = PUBLISHED.get(_network(name))
    return row is not None and row.role is Role.NETWORK


def parse_name(name: str) -> tuple[str, EmbedderOptions]:
    """The network's name and its options. Raises `UnknownModel` for what is no option or no value of one."""
    values: dict[str, Any] = {}
    for option in filter(None, name.partition(":")[2].split(",")):
        key, _, value = option.partition("=")
        if key not in _READERS:
            raise UnknownModel(f"{name!r} has an unknown option {key!r}; the options are {', '.join(_READERS)}")
        if key in values:
            raise UnknownModel(f"{name!r} has the option {key!r} twice; give it once")
        reads, expected = _READERS[key]
        try:
            values[key] = reads(value)
        except ValueError:
            raise UnknownModel(f"the option {key} of {name!r} must be {expected}, not {value!r}") from None
    return _network(name), EmbedderOptions(**values)


def predicting_name(name: str) -> str:
    """The name under which a model predicts: without its owner and without options that change vectors alone.

    `EPFL-VILAB/4M-21_B:token_budget=98,dtype=bfloat16` predicts as `4M-21_B:dtype=bfloat16`, and `4M-21_B` as itself.
    Other names stay as they are. Raises `UnknownModel` as `parse_name` does.
    """
    if not is_published(name):
        return name
    network, options = parse_name(name)
    return f"{network}:dtype={options.dtype}" if options.dtype is Precision.BFLOAT16 else network


def may_answer(model: str, asked: str) -> bool:
    """Whether `model`, as predictions name it, is one that `asked` means: a plain name means any dtype of its network.

    Raises `UnknownModel` as `parse_name` does.
    """
    wanted = predicting_name(asked)
    return model == wanted or (wanted in PUBLISHED and model.startswith(f"{wanted}:"))


def _network(name: str) -> str:
    return name.partition(":")[0].removeprefix(f"{OWNER}/")


def _token_budget(text: str) -> int:
    budget = int(text)
    if budget < 1:
        raise ValueError(text)
    return budget


_READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "decoding": (Decoding, "soft or hard"),
    "token_budget": (_token_budget, "a whole number, 1 or more"),
    "dtype": (Precision, "float32 or bfloat16"),
}
