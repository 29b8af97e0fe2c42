"""Base concepts of emoji: which code points share a meaning, and which of them are held out of training."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anyseek.model.galleries.openmoji import SKIN_TONES

HELD_OUT_SHARE = 0.15  # base concepts that only the evaluation sees
DEVELOPMENT_SHARE = 0.05  # base concepts that choose constants, never trained on, never reported

_VARIATION = "FE0F"
_JOINER = "200D"
_GENDER_SIGNS = frozenset({"2640", "2642"})
# Code points that differ in gender only, as the one that stands for them all.
_GENDERLESS = {
    **dict.fromkeys(("1F468", "1F469"), "1F9D1"),  # man, woman: person
    **dict.fromkeys(("1F466", "1F467"), "1F9D2"),  # boy, girl: child
    **dict.fromkeys(("1F474", "1F475"), "1F9D3"),  # old man, old woman: older person
    "1F934": "1F478",  # prince: princess
    "1F57A": "1F483",  # man dancing: woman dancing
    "1F936": "1F385",  # Mrs. Claus: Santa Claus
    "1F46C": "1F46B",  # men holding hands: woman and man holding hands
    "1F46D": "1F46B",
    "1F6BA": "1F6B9",  # women's room: men's room
}


class Split(StrEnum):
    """What a base concept is used for."""

    TRAIN = "train"
    DEVELOPMENT = "development"
    TEST = "test"


@dataclass(frozen=True)
class Concept:
    """One emoji of the emojibase table: `hexcode` without variation selectors, its label, tags and short names."""

    hexcode: str
    label: str
    tags: tuple[str, ...]


def plain_hexcode(hexcode: str) -> str:
    """Upper case, joined by `-`, without variation selectors: `270b-fe0f` becomes `270B`."""
    return "-".join(part for part in hexcode.upper().split("-") if part != _VARIATION)


def has_skin_tone(hexcode: str) -> bool:
    """Whether the emoji is a skin tone of another one, or a swatch of a tone."""
    return not SKIN_TONES.isdisjoint(hexcode.upper().split("-"))


def base_concept(hexcode: str) -> str:
    """The hexcode that skin tones and genders of one emoji share."""
    parts = [p for p in plain_hexcode(hexcode).split("-") if p not in SKIN_TONES | _GENDER_SIGNS]
    kept = [_GENDERLESS.get(part, part) for part in parts]
    while kept and kept[-1] == _JOINER:
        kept.pop()
    return "-".join(kept) or plain_hexcode(hexcode)


def split_of(hexcode: str) -> Split:
    """The split of an emoji: a hash of its base concept, the same on every machine."""
    digest = hashlib.sha256(base_concept(hexcode).encode()).hexdigest()
    share = int(digest[:8], 16) / 2**32
    if share < HELD_OUT_SHARE:
        return Split.TEST
    return Split.DEVELOPMENT if share < HELD_OUT_SHARE + DEVELOPMENT_SHARE else Split.TRAIN


def read_concepts(table: Sequence[Mapping[str, Any]], shortcodes: Mapping[str, Any]) -> dict[str, Concept]:
    """The concepts of emojibase's `data.json`, by plain hexcode, short names of `shortcodes` added to the tags."""
    names = {plain_hexcode(code): _as_list(value) for code, value in shortcodes.items()}
    concepts = {}
    for row in table:
        code = plain_hexcode(row["hexcode"])
        words = [name.replace("_", " ").replace("-", " ") for name in names.get(code, [])]
        tags = dict.fromkeys([*row.get("tags", []), *words])
        concepts[code] = Concept(code, row["label"], tuple(tags))
    return concepts


def hexcodes_by_name(concepts: Mapping[str, Concept]) -> dict[str, str]:
    """Squashed names (letters and digits only) to hexcodes, for vendors that do not say code points."""
    found: dict[str, str] = {}
    for code, concept in concepts.items():
        points = [int(part, 16) for part in code.split("-")]
        formal = unicodedata.name(chr(points[0]), "") if len(points) == 1 else ""
        for name in (concept.label, formal):
            if name:
                found.setdefault(squash(name), code)
    return found


def squash(name: str) -> str:
    """Lower-case letters and digits of a name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
