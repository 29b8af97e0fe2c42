"""The query that HTTP, the command line, Python and the engine take: a new member is declared here once.

Imports nothing heavy, so that a client starts at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

from anyseek.model.spelling import unknown
from anyseek.search.answers.results import MAX_EXPLAINED, Fusion
from anyseek.search.errors import BadQuery
from anyseek.search.json_types import STRICT, JsonType

DEFAULT_HITS = 10
MAX_HITS = 10_000
MAX_COLLECTIONS = 16
WORDS = "words"  # the modality of a part that is looked for by full text
_Vector = Annotated[list[float], JsonType(list[float], max_length=65_536)]
Where = dict[str, Any] | str  # a filter, as JSON or written

EXAMPLES = [
    {"parts": [{"modality": "caption", "text": "a red bicycle"}], "k": 5},
    {"parts": [{"item": "holiday/0042.jpg"}, {"modality": "caption", "text": "night", "weight": -0.5}]},
    {"parts": [{"modality": "caption", "text": "a dog"}], "where": "width >= 1000 and label in (dog, wolf)"},
    {"parts": [{"modality": "caption", "text": "a dog on a beach"}, {"modality": "words", "text": "Rimini 1987"}]},
]


@dataclass(frozen=True)
class Part:
    """One piece of a query: a modality with exactly one of `text`, `file` and `data`, the key of an `item`, or a
    `vector`.

    In Python `data` may be bytes, and a `file` is a path. The engine takes parts with a decoded `value`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    modality: str | None = None
    """such as rgb, caption, sketch, color_palette; caption unless given, not needed for an item; or `words`, whose
    `text` is looked for in keys, captions and attributes themselves"""
    value: Annotated[Any, JsonType(None)] = None
    """what `text`, `file` or `data` hold once they are decoded, as `anyseek.model.seam.Sample` has it"""
    text: str | None = None
    """words, or colours as #rrggbb,#rrggbb"""
    file: Annotated[str | Path | None, JsonType(str | None)] = None
    """the field of a multipart form that has the file"""
    data: Annotated[bytes | str | Sequence[str] | None, JsonType(str | list[str] | None)] = None
    """the file's bytes, as base64 in JSON; for captions and palettes the value itself"""
    item: str | None = None
    """the key of an item: more like this"""
    weight: float = 1.0
    """its weight; a negative one pushes away"""
    classes: dict[str, str] | None = None
    """names of the ids of a segmentation map, {"0": "sky"}, or of its colours, {"#87ceeb": "sky"}"""
    name: Annotated[str, JsonType(str, max_length=4096)] | None = None
    """the name that errors give it, such as the file's name"""
    vector: Annotated[Any, JsonType(_Vector | None)] = None
    """a raw vector of the query's `space`: an item's, as hits have it; with a modality, the model's of such a query"""
    form: str | None = None
    """the convention of a map, which is otherwise guessed: of depth far-bright, near-bright or inverse; of a
    segmentation a table such as ade20k, or ids or colours; of normals where x, y and z point, right-down-away;
    of a drawing clean or photographed"""
    box: Annotated[Sequence[float], JsonType(list[float], min_length=4, max_length=4)] | None = None
    """the part of a picture that counts, which is sent or that of the `item`: left, top, right and bottom as fractions
    of its sides, 0 to 1"""
    mask: Annotated[bytes | str | None, JsonType(str | None)] = None
    """the part of a picture that counts, instead of a `box`: a PNG of numbers or an NPY array, as base64 in JSON, with
    the picture's proportions; what is not 0 counts"""
    collection: str | None = None
    """the collection of the `item`; by default the one that is searched, or the first of several"""
    understood: Annotated[Any, JsonType(None)] = None
    """how the file of the value was read, where its format leaves something open"""


@dataclass(frozen=True)
class Query:
    """A query of a collection."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | {"json_schema_extra": {"examples": EXAMPLES}}

    parts: Annotated[Sequence[Part], JsonType(list[Part], min_length=1)]
    k: Annotated[int, JsonType(int, ge=1, le=MAX_HITS)] = DEFAULT_HITS
    """how many hits"""
    space: str | None = None
    """the space to search; by default the model chooses"""
    where: Annotated[Any, JsonType(Where | None)] = None
    """which items may be hits: `width >= 1000`, or as JSON {"field": "width", "gte": 1000}"""
    fusion: Fusion | None = None
    """joint: all parts in one pass of the model; late: one vector per part, added by weight; ranks: one ranking
    per part, added by rank. By default the model chooses, and parts at home in different spaces are added by rank."""
    offset: Annotated[int, JsonType(int, ge=0, le=MAX_HITS - 1)] = 0
    """how many of the best hits to leave out, for the pages after the first; with `k` at most 10,000"""
    min_score: Annotated[float, JsonType(float, ge=-1, le=1)] | None = None
    """leave out hits whose score is lower, from -1 to 1"""
    vectors: bool = False
    """give the items' raw vectors in the space that was searched; then there are at most 1,000 hits"""
    group_by: str | None = None
    """an attribute, such as album: `k` and `offset` count groups of items with the same value; others are left out"""
    group_size: Annotated[int, JsonType(int, ge=1, le=MAX_HITS)] = 1
    """how many of the best items of each group become hits"""
    facets: Annotated[Sequence[str], JsonType(list[str], max_length=20)] = ()
    """attributes whose values to count, of all items that pass `where`"""
    spaces: Annotated[Sequence[str], JsonType(list[str], max_length=20)] = ()
    """ask the same in each of these spaces, and add the rankings"""
    cursor: str | None = None
    """the `next` of an answer to this query: the best of the hits that were not on the pages up to that one"""
    explain: Annotated[int, JsonType(int, ge=0, le=MAX_EXPLAINED)] = 0
    """explain so many of the hits: what each part contributed, and the words in common; not in a batch"""
    explain_keys: Annotated[Sequence[str], JsonType(list[str], max_length=MAX_EXPLAINED)] = ()
    """explain these items, hits or not; with `explain` at most 20"""
    min_probability: Annotated[float, JsonType(float, ge=0, le=1)] | None = None
    """leave out hits that are less probable, from 0 to 1; what words alone find stays"""

    @property
    def contents(self) -> tuple[Part, ...]:
        """The parts that become vectors."""
        return tuple(part for part in self.parts if part.modality != WORDS)

    @property
    def words(self) -> tuple[Part, ...]:
        """The parts that are looked for by full text."""
        return tuple(part for part in self.parts if part.modality == WORDS)

    @property
    def is_explained(self) -> bool:
        """Return whether it asks for explanations."""
        return bool(self.explain or self.explain_keys)

    @property
    def reach(self) -> int:
        """The number of best hits, or groups, that have to be known."""
        return self.offset + self.k


@dataclass(frozen=True, kw_only=True)
class QueryOfSeveral(Query):
    """A query of several collections, whose hits are merged. It has no `facets`, no `cursor` and no explanations."""

    collections: Annotated[Sequence[str], JsonType(list[str], min_length=1, max_length=MAX_COLLECTIONS)]


def hits_of(query: Mapping[str, Any]) -> int:
    """The most hits that a query in JSON asks for, before it is checked."""
    wanted = query.get("k", DEFAULT_HITS), query.get("group_size", 1)
    return math.prod(number if isinstance(number, int) and number > 0 else 0 for number in wanted)


def word_parts_of(query: Mapping[str, Any]) -> int:
    """The number of parts of a query in JSON that are looked for by full text, before it is checked."""
    parts = query.get("parts")
    listed = parts if isinstance(parts, list) else []
    return sum(isinstance(part, dict) and part.get("modality") == WORDS for part in listed)


Parts = str | Part | Mapping[str, Any] | Sequence[str | Part | Mapping[str, Any]]


def parts_of(given: Parts) -> tuple[Part, ...]:
    """The parts of a query from one or several texts, `Part`s or mappings of a part's members.

    Raises `BadQuery`.
    """
    several = [given] if isinstance(given, str | Part | Mapping) else given
    return tuple(_part_of(part) for part in several)


def _part_of(given: str | Part | Mapping[str, Any]) -> Part:
    if isinstance(given, Part):
        return given
    if isinstance(given, str):
        return Part("caption", text=given)
    if not isinstance(given, Mapping):
        raise BadQuery(f"a part is words, a Part or its members, not {type(given).__name__}")
    known = [member.name for member in fields(Part) if member.name not in ("value", "understood")]
    strange = [name for name in given if name not in known]
    if strange:
        raise BadQuery(unknown("member", str(strange[0]), known))
    return Part(**given)
