"""Queries and answers as they travel: for Python callers, and as the schema of the service's JSON.

Imports nothing heavy, so that a client starts at once. `api.queries.conversion` turns them into the engine's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from api.wire import ANSWER, STRICT, JsonType, to_json
from model.spelling import unknown
from search.errors import BadQuery
from search.settings import Limits

DEFAULT_HITS = 10
MOST_HITS = 10_000
WORDS = "words"  # the modality of a part that is looked for by full text
LONGEST_VECTOR = 65_536
Fusion = Literal["joint", "late", "ranks"]
Where = dict[str, Any] | str  # a filter, as JSON or written

EXAMPLES = [
    {"parts": [{"modality": "caption", "text": "a red bicycle"}], "k": 5},
    {"parts": [{"item": "holiday/0042.jpg"}, {"modality": "caption", "text": "night", "weight": -0.5}]},
    {"parts": [{"modality": "caption", "text": "a dog"}], "where": "width >= 1000 and label in (dog, wolf)"},
    {"parts": [{"modality": "caption", "text": "a dog on a beach"}, {"modality": "words", "text": "Rimini 1987"}]},
]


@dataclass(frozen=True)
class Part:
    """One piece of a query: a modality with exactly one of `text` and `data`, the key of an `item`, or a `vector`.

    In Python `data` may be bytes, and a `file` may replace it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    modality: str | None = None
    """such as rgb, caption, sketch, color_palette; caption unless given, not needed for an item; or `words`, whose
    `text` is looked for in keys, captions and attributes themselves"""
    text: str | None = None
    """words, or colours as #rrggbb,#rrggbb"""
    file: Annotated[Path | None, JsonType(None)] = None
    """read where the query is asked"""
    data: Annotated[bytes | str | Sequence[str] | None, JsonType(str | list[str] | None)] = None
    """the file's bytes, as base64 in JSON; for captions and palettes the value itself"""
    item: str | None = None
    """the key of an item of the collection: more like this"""
    weight: float = 1.0
    """its weight; a negative one pushes away"""
    classes: dict[str, str] | None = None
    """names of the ids of a segmentation map: {"0": "sky"}"""
    name: Annotated[str, JsonType(str, max_length=4096)] | None = None
    """the name that errors give it, such as the file's name"""
    vector: Annotated[Sequence[float], JsonType(list[float], max_length=LONGEST_VECTOR)] | None = None
    """a raw vector of the query's `space`: an item's, as hits have it; with a modality, the model's of such a query"""

    def __post_init__(self) -> None:
        as_list = getattr(self.vector, "tolist", None)  # which arrays of NumPy's have
        if as_list is not None:
            object.__setattr__(self, "vector", as_list())


@dataclass(frozen=True)
class Query:
    """What to look for in a collection."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | {"json_schema_extra": {"examples": EXAMPLES}}

    parts: Annotated[Sequence[Part], JsonType(list[Part], min_length=1)]
    k: Annotated[int, JsonType(int, ge=1, le=MOST_HITS)] = DEFAULT_HITS
    """how many hits"""
    space: str | None = None
    """the space to search; by default the model chooses"""
    where: Where | None = None
    """which items may be hits: `width >= 1000`, or as JSON {"field": "width", "gte": 1000}"""
    fusion: Fusion | None = None
    """joint: all parts in one pass of the model; late: one vector per part, added by weight; ranks: one ranking per
    part, added by rank. By default the model chooses, and parts at home in different spaces are added by rank."""
    offset: Annotated[int, JsonType(int, ge=0, le=MOST_HITS - 1)] = 0
    """how many of the best hits to leave out, for the pages after the first; with `k` at most 10,000"""
    min_score: float | None = None
    """leave out hits whose score is lower, from -1 to 1"""
    vectors: bool = False
    """give the items' raw vectors in the space that was searched; then there are at most 1,000 hits"""
    group_by: str | None = None
    """an attribute, such as album: `k` and `offset` count groups of items with the same value; others are left out"""
    group_size: Annotated[int, JsonType(int, ge=1, le=MOST_HITS)] = 1
    """how many of the best items of each group become hits"""


class More(TypedDict, total=False):
    """Members of a query that few need, as keywords of the clients; `Query` says what they are."""

    offset: int
    min_score: float | None
    vectors: bool
    group_by: str | None
    group_size: int


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
    known = [each.name for each in fields(Part)]
    strange = [name for name in given if name not in known]
    if strange:
        raise BadQuery(unknown("member", str(strange[0]), known))
    return Part(**given)


def query_json(query: str | Query | Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """A query, its members or its words, as JSON; its files are read.

    Raises `BadQuery`, `InputError`, `TooManyBytes`.
    """
    members = spelled_out(query)
    if not isinstance(members.get("parts"), list):
        return members
    return members | {"parts": [_part_json(part, limits) for part in members["parts"]]}


def spelled_out(query: str | Query | Mapping[str, Any]) -> dict[str, Any]:
    """The members of a query. Its `parts` are a list, without words as such, if they can be parts at all.

    Raises `BadQuery`.
    """
    if isinstance(query, str):
        query = {"parts": query}
    if not isinstance(query, Query | Mapping):
        raise BadQuery(f"a query is words, a Query or its members, not {type(query).__name__}")
    members = dict(vars(query) if isinstance(query, Query) else query)
    parts = members.get("parts")
    several = [parts] if isinstance(parts, str | Part | Mapping) else parts
    if not isinstance(several, list | tuple):
        return members
    return members | {"parts": [_part_of(part) if isinstance(part, str) else part for part in several]}


def _part_json(part: Any, limits: Limits) -> Any:
    members = vars(part) if isinstance(part, Part) else part
    return to_json(members, limits) if isinstance(members, Mapping) else part


@dataclass(frozen=True)
class Hit:
    """One hit. In a batch it has only key, score and rank."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER | {
        "json_schema_extra": {"example": {"key": "holiday/0042.jpg", "score": 0.83, "rank": 1, "assets": ["rgb"]}}
    }

    key: str
    score: float
    """cosine, higher is better"""
    rank: int
    """from 1; with `group_by` that of its group"""
    caption: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    assets: tuple[str, ...] = ()
    """names of the item's files"""
    path: str | None = None
    """where its picture lies on the service's machine; null if it is stored, and for keys without the scope admin"""
    vector: tuple[float, ...] | None = None
    """the item's raw unit vector in the space that was searched, if the query asked for `vectors`"""
    group: str | float | bool | None = None
    """the value of `group_by` that its group has in common; hits stand group by group, best first"""


@dataclass(frozen=True)
class Results:
    """The hits of one query, best first."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    hits: tuple[Hit, ...]
    space: str | None
    """that they were found in; several are joined by +; null if words alone were looked for"""
    fusion: Fusion | None = None
    """how the parts became one, ranks wherever words are added to others; null for one part"""
    note: str | None = None
    """what is odd about the filter, such as an attribute that no item has, if fewer hits than wanted pass it; and how
    high the scores are if none is as high as `min_score`"""


@dataclass(frozen=True)
class Refusal:
    """Why one query of a batch has no hits."""

    error: str


def results_of(members: Mapping[str, Any]) -> Results:
    """Results from the JSON of one answer."""
    hits = tuple(_hit_of(hit) for hit in members["hits"])
    return Results(hits, members["space"], members.get("fusion"), members.get("note"))


def batch_of(answers: Sequence[Mapping[str, Any]]) -> list[Results | Refusal]:
    """Results or refusals from the JSON of a batch's answers, in its order."""
    return [Refusal(answer["error"]) if answer.get("error") else results_of(answer) for answer in answers]


def _hit_of(members: Mapping[str, Any]) -> Hit:
    names = ("key", "score", "rank", "caption", "attributes", "path", "group")
    known = {name: members[name] for name in names if name in members}
    vector = members.get("vector")
    return Hit(**known, assets=tuple(members.get("assets", ())), vector=None if vector is None else tuple(vector))
