"""Checks that a value is what its modality holds, before any network sees it. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.embedder import Regions, Value
from model.formats.boxes import LabelledBox
from model.formats.human_poses import HumanPose
from model.formats.metadata import Metadata
from model.formats.sam_instances import QueryPoint
from model.formats.spans import FormatInvalid
from model.formats.text_states import TextStates
from model.modality import Content, Modality


@dataclass(frozen=True)
class _Rule:
    """What values of a content are, in words, and a test of it."""

    words: str
    holds: Callable[[object], bool]


def check_value(modality: Modality, value: Value) -> None:
    """Raises `FormatInvalid` unless the value has the type, shape and kind of numbers of its modality."""
    rule = _RULES[modality.content]
    if not rule.holds(value):
        raise FormatInvalid(f"{modality.name} is {rule.words}, not {_described(value)}")


def _array(kinds: str, shape: str) -> Callable[[object], bool]:
    """A test for non-empty arrays of a dtype among `kinds` and a shape such as `HW3`, digits being fixed sides."""

    def holds(value: object) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.str[1:] not in kinds.split() or value.size == 0:
            return False
        fits = [letter.isalpha() or side == int(letter) for letter, side in zip(shape, value.shape, strict=False)]
        return value.ndim == len(shape) and all(fits)

    return holds


def _tuple(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _is_regions(value: object) -> bool:
    return isinstance(value, Regions) and value.ids.ndim == 2 and value.ids.size > 0 and value.ids.dtype.kind in "iu"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _finite(kinds: str, shape: str) -> Callable[[object], bool]:
    is_array = _array(kinds, shape)
    return lambda value: is_array(value) and bool(np.isfinite(np.asarray(value)).all())


def _is_depth(value: object) -> bool:
    return _array("f4", "HW")(value) and bool(np.isfinite(np.asarray(value)).any())


def _is_palette(value: object) -> bool:
    return _array("u1", "n3")(value) and len(np.asarray(value)) <= 7


_RULES: dict[Content, _Rule] = {
    Content.PICTURE: _Rule("a uint8 array (height, width, 3)", _array("u1", "HW3")),
    Content.DRAWING: _Rule("a uint8 array (height, width)", _array("u1", "HW")),
    Content.DEPTH: _Rule("a float32 array (height, width) with a finite number in it", _is_depth),
    Content.NORMAL: _Rule("a uint8 array (height, width, 3)", _array("u1", "HW3")),
    Content.REGIONS: _Rule("Regions with integer ids (height, width)", _is_regions),
    Content.TEXT: _Rule("a text of at least one character", _is_text),
    Content.PALETTE: _Rule("a uint8 array (colours, 3) of 1 to 7 colours", _is_palette),
    Content.BOXES: _Rule("a tuple of LabelledBox", _tuple(LabelledBox)),
    Content.METADATA: _Rule("Metadata", lambda value: isinstance(value, Metadata)),
    Content.POSES: _Rule("a tuple of HumanPose", _tuple(HumanPose)),
    Content.INSTANCES: _Rule("a tuple of QueryPoint", _tuple(QueryPoint)),
    Content.FEATURES: _Rule("a finite float32 array (channels, rows, columns)", _finite("f4", "Chw")),
    Content.VECTOR: _Rule("a finite float32 array (length,)", _finite("f4", "d")),
    Content.TEXT_STATES: _Rule("TextStates", lambda value: isinstance(value, TextStates)),
}


def _described(value: object) -> str:
    """A value's type, and the type and shape of an array."""
    if isinstance(value, Regions):
        return f"Regions of {_described(value.ids)}"
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        return f"{value.dtype} of shape {value.shape}" + ("" if finite else " with numbers that are not finite")
    return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
