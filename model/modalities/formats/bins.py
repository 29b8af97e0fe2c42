"""Numbers in sequences: write the bins `v0=0` … `v3=999`, and read a text as words and bins."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from anyseek.model.modalities.formats.spans import FormatInvalid

MAX_BIN = 999
_BIN = re.compile(r"v([0-3])=(0|[1-9]\d{0,2})")
SPECIAL_TOKEN = re.compile(r"\[(?:PAD|UNK|SOS|EOS|S_\d+)\]")


@dataclass(frozen=True)
class Bin:
    """The word `v<axis>=<value>`: axis 0 to 3, value 0 to 999."""

    axis: int
    value: int


def write_bin(axis: int, value: int) -> str:
    """The word of a bin. Raises `FormatInvalid` for a value outside 0 to 999."""
    if not 0 <= value <= MAX_BIN:
        raise FormatInvalid(f"{value} is not a bin; bins are 0 to {MAX_BIN}")
    return f"v{axis}={value}"


def read_words(text: str) -> list[str | Bin]:
    """The words of a text, bins read, special tokens such as `[EOS]` left out."""
    words: list[str | Bin] = []
    for word in SPECIAL_TOKEN.sub(" ", text).split():
        match = _BIN.fullmatch(word)
        words.append(Bin(int(match[1]), int(match[2])) if match else word)
    return words


def split_before(words: Sequence[str | Bin], begins: Callable[[str | Bin], bool]) -> list[Sequence[str | Bin]]:
    """The words in parts, each from one that `begins` up to the next; what precedes the first is left out."""
    starts = [place for place, word in enumerate(words) if begins(word)]
    return [words[start:end] for start, end in pairwise([*starts, len(words)])]


def take_bins(words: Sequence[str | Bin], axes: Iterable[int]) -> list[int] | None:
    """The values of the first words if they are bins of exactly these axes, in this order; None otherwise."""
    values = []
    for place, axis in enumerate(axes):
        word = words[place] if place < len(words) else None
        if not isinstance(word, Bin) or word.axis != axis:
            return None
        values.append(word.value)
    return values


def scale_to_bin(value: float, low: float, high: float) -> int:
    """The nearest of 1,000 bins over [low, high], halves to the even one; values outside count as its ends."""
    scale = MAX_BIN / (high - low)
    return round(clamp(value, low, high) * scale - low * scale)


def scale_from_bin(value: int, low: float, high: float) -> float:
    """The number in [low, high] that a bin stands for."""
    return low + value * (high - low) / MAX_BIN


def clamp(value: float, low: float, high: float) -> float:
    """The nearest number in [low, high]. Raises `FormatInvalid` for what is not finite."""
    if not math.isfinite(value):
        raise FormatInvalid(f"{value} has no bin; a finite number is needed")
    return min(max(value, low), high)


# A token of a 1,024-entry codebook is one bin: the lower half on axis 0, the upper half on axis 1.
_HALF_CODEBOOK = 512


def write_code(token: int) -> str:
    """The word of a tokenizer's code 0 to 1023."""
    if not 0 <= token < 2 * _HALF_CODEBOOK:
        raise FormatInvalid(f"{token} is not a code; codes are 0 to {2 * _HALF_CODEBOOK - 1}")
    axis, value = divmod(token, _HALF_CODEBOOK)
    return write_bin(axis, value)


def read_codes(words: Sequence[str | Bin], count: int) -> tuple[int, ...] | None:
    """The first `count` words as codes; None unless all of them are."""
    codes = []
    for word in words[:count]:
        if not isinstance(word, Bin) or word.axis > 1 or word.value >= _HALF_CODEBOOK:
            return None
        codes.append(word.axis * _HALF_CODEBOOK + word.value)
    return tuple(codes) if len(codes) == count else None
