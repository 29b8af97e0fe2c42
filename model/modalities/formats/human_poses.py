"""Human poses: 39 tokens per person, or `none` where there is nobody.

A person is written as `human`, four bins for the box, then four groups in any order. Each group is a word and its
numbers: `pose` 8 codes of the pose tokenizer, `global` 9 (a rotation matrix row by row), `camera` 3, `shape` 10 (body
shape coefficients).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anyseek.model.modalities.formats.bins import (
    Bin,
    read_codes,
    read_words,
    scale_from_bin,
    scale_to_bin,
    split_before,
    take_bins,
    write_bin,
    write_code,
)
from anyseek.model.modalities.formats.boxes import Box, read_box, write_box
from anyseek.model.modalities.formats.spans import FormatInvalid

GROUPS = ("pose", "global", "camera", "shape")
NOBODY = "none"
_PERSON = "human"
_POSE_TOKENS = 8
# count, lowest and highest number of the groups of real numbers
_NUMBERS = {"global": (9, -1.0, 1.0), "camera": (3, -1.0, 19.0), "shape": (10, -3.0, 3.0)}


@dataclass(frozen=True)
class HumanPose:
    """One person: `box` in [0, 1] of the picture, 8 `pose` codes 0 to 1023, `rotation` 9 numbers in [-1, 1], `camera`
    3 in [-1, 19], `shape` 10 in [-3, 3]. Numbers outside are written as the nearest inside.
    """

    box: Box
    pose: tuple[int, ...]
    rotation: tuple[float, ...]
    camera: tuple[float, ...]
    shape: tuple[float, ...]

    def __post_init__(self) -> None:
        wanted = {"pose": _POSE_TOKENS} | {group: count for group, (count, _, _) in _NUMBERS.items()}
        for group, count in wanted.items():
            if len(self.numbers(group)) != count:
                raise FormatInvalid(f"{group} of a person has {count} numbers, not {len(self.numbers(group))}")

    def numbers(self, group: str) -> tuple[float, ...]:
        """The numbers of a group by its word."""
        return {"pose": self.pose, "global": self.rotation, "camera": self.camera, "shape": self.shape}[group]


def poses_to_text(people: Sequence[HumanPose], orders: Sequence[Sequence[str]] | None = None) -> str:
    """The text of all persons, a space after each; `orders` gives the order of groups by person."""
    if not people:
        return NOBODY
    orders = [GROUPS] * len(people) if orders is None else orders
    return "".join(f"{_write_person(person, order)} " for person, order in zip(people, orders, strict=True))


def _write_person(person: HumanPose, order: Sequence[str]) -> str:
    if sorted(order) != sorted(GROUPS):
        raise FormatInvalid(f"the groups {list(order)} must be {', '.join(GROUPS)} in some order")
    words = [_PERSON, write_box(person.box)]
    for group in order:
        if group == "pose":
            numbers = [write_code(token) for token in person.pose]
        else:
            _, low, high = _NUMBERS[group]
            numbers = [write_bin(0, scale_to_bin(value, low, high)) for value in person.numbers(group)]
        words += [group, *numbers]
    return " ".join(words)


def poses_from_text(text: str) -> list[HumanPose]:
    """The persons of a text; those that are not complete are left out."""
    parts = split_before(read_words(text), lambda word: word == _PERSON)
    people = [_read_person(words[1:]) for words in parts]
    return [person for person in people if person is not None]


def _read_person(words: Sequence[str | Bin]) -> HumanPose | None:
    box = read_box(words)
    groups = {word: words[place + 1 :] for place, word in enumerate(words) if word in GROUPS}
    if box is None or len(groups) < len(GROUPS):
        return None
    pose, numbers = read_codes(groups["pose"], _POSE_TOKENS), []
    for group, (count, low, high) in _NUMBERS.items():
        values = take_bins(groups[group], [0] * count)
        if pose is None or values is None:
            return None
        numbers.append(tuple(scale_from_bin(value, low, high) for value in values))
    return None if pose is None else HumanPose(box, pose, *numbers)
