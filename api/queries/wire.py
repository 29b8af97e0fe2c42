"""Queries and answers as they travel: for Python callers, and as the schema of the service's JSON.

Imports nothing heavy, so that a client starts at once. `anyseek.api.queries.conversion` turns them into the engine's
own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict, TypeVar

from anyseek.api.wire import ANSWER, STRICT, JsonType, to_json
from anyseek.model.spelling import unknown
from anyseek.search.answers.explanation import (
    MOST_EXPLAINED,
    Explanation,
    PartShare,
    RankingShare,
    SharedCodes,
    SharedWord,
)
from anyseek.search.errors import BadQuery
from anyseek.search.settings import Limits

T = TypeVar("T")

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
    """the key of an item: more like this"""
    weight: float = 1.0
    """its weight; a negative one pushes away"""
    classes: dict[str, str] | None = None
    """names of the ids of a segmentation map, {"0": "sky"}, or of its colours, {"#87ceeb": "sky"}"""
    name: Annotated[str, JsonType(str, max_length=4096)] | None = None
    """the name that errors give it, such as the file's name"""
    vector: Annotated[Sequence[float], JsonType(list[float], max_length=LONGEST_VECTOR)] | None = None
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
    """joint: all parts in one pass of the model; late: one vector per part, added by weight; ranks: one ranking
    per part, added by rank. By default the model chooses, and parts at home in different spaces are added by rank."""
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
    facets: Annotated[Sequence[str], JsonType(list[str], max_length=20)] = ()
    """attributes whose values to count, of all items that pass `where`"""
    spaces: Annotated[Sequence[str], JsonType(list[str], max_length=20)] = ()
    """ask the same in each of these spaces, and add the rankings"""
    cursor: str | None = None
    """the `next` of an answer to this query: the best of the hits that were not on the pages up to that one"""
    explain: Annotated[int, JsonType(int, ge=0, le=MOST_EXPLAINED)] = 0
    """explain so many of the hits: what each part contributed, and the words in common; not in a batch"""
    explain_keys: Annotated[Sequence[str], JsonType(list[str], max_length=MOST_EXPLAINED)] = ()
    """explain these items, hits or not; with `explain` at most 20"""
    min_probability: float | None = None
    """leave out hits that are less probable, from 0 to 1; what words alone find stays"""


@dataclass(frozen=True, kw_only=True)
class QueryOfSeveral(Query):
    """A query of several collections, whose hits are merged. It has no `facets`, no `cursor` and
    no explanations."""

    collections: Annotated[Sequence[str], JsonType(list[str], min_length=1, max_length=16)]


class More(TypedDict, total=False):
    """Members of a query that few need, as keywords of the clients; `Query` says what they are."""

    offset: int
    min_score: float | None
    vectors: bool
    group_by: str | None
    group_size: int
    facets: Sequence[str]
    spaces: Sequence[str]
    cursor: str | None
    explain: int
    explain_keys: Sequence[str]
    min_probability: float | None


class Rest(More, total=False):
    """All members of a query but its parts and `k`, as keywords."""

    space: str | None
    where: Where | None
    fusion: Fusion | None


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
    """One hit. In a batch it has only key, score, rank and probability."""

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
    group: str | int | float | bool | None = None
    """the value of `group_by` that its group has in common; hits stand group by group, best first"""
    collection: str | None = None
    """the collection it is in, where several were searched"""
    probability: float | None = None
    """how likely it is what was asked for, from 0 to 1, alike for all kinds of query; null for words alone"""


@dataclass(frozen=True)
class FacetValue:
    """A text or a truth value, and how many items have it."""

    value: str | bool
    items: int


@dataclass(frozen=True)
class Facet:
    """An attribute of the items that pass the query's filter. `least` and `most` are of numbers, `first` and `last` of
    times.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    field: str
    items: int
    """how many items have it"""
    distinct: int
    """how many different texts it has"""
    values: tuple[FacetValue, ...] = ()
    """its 20 most frequent texts, then its truth values"""
    least: float | None = None
    most: float | None = None
    first: str | None = None
    """ISO 8601"""
    last: str | None = None


@dataclass(frozen=True)
class Understood:
    """How the file of one part was read, where its format leaves something open."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER

    name: str
    """what errors would call the part, such as the file's name"""
    form: str
    """the convention it was taken to have; a part's `form` says another"""
    sure: float
    """the share of such guesses that are right, 0.5 to 1; 1 where nothing was guessed"""
    sentence: str
    """what was understood, and why"""
    part: int | None = None
    """which of the query's parts it is, from 1; parts of `words` do not count"""


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
    """what is odd about the filter, such as an attribute that no item has, if fewer hits than wanted pass it; how
    high the scores are if none is as high as `min_score`; and that nothing good was found"""
    facets: tuple[Facet, ...] = ()
    """those that the query asked for, in its order"""
    next: str | None = None
    """send it as `cursor` for the next page; null at the end, and for queries with an `offset`"""
    explanations: tuple[Explanation, ...] = ()
    """of the hits and items that `explain` and `explain_keys` ask for"""
    understood: tuple[Understood, ...] = ()
    """how files were read whose format leaves something open, in the order of their parts"""


@dataclass(frozen=True)
class Refusal:
    """Why one query of a batch has no hits."""

    error: str


def results_of(members: Mapping[str, Any]) -> Results:
    """Results from the JSON of one answer."""
    hits = tuple(_hit_of(hit) for hit in members["hits"])
    facets = tuple(_facet_of(facet) for facet in members.get("facets", ()))
    explained = tuple(map(_explanation_of, members.get("explanations", ())))
    understood = tuple(_known(Understood, each) for each in members.get("understood", ()))
    note, following = members.get("note"), members.get("next")
    fusion = members.get("fusion")
    return Results(hits, members["space"], fusion, note, facets, following, explained, understood)


def batch_of(answers: Sequence[Mapping[str, Any]]) -> list[Results | Refusal]:
    """Results or refusals from the JSON of a batch's answers, in its order."""
    return [Refusal(answer["error"]) if answer.get("error") else results_of(answer) for answer in answers]


def _facet_of(members: Mapping[str, Any]) -> Facet:
    names = [each.name for each in fields(Facet) if each.name in members]
    values = tuple(FacetValue(each["value"], each["items"]) for each in members["values"])
    return Facet(**{name: members[name] for name in names} | {"values": values})


def _hit_of(members: Mapping[str, Any]) -> Hit:
    names = ("key", "score", "rank", "caption", "attributes", "path", "group", "collection", "probability")
    known = {name: members[name] for name in names if name in members}
    vector = members.get("vector")
    return Hit(**known, assets=tuple(members.get("assets", ())), vector=None if vector is None else tuple(vector))


def _explanation_of(members: Mapping[str, Any]) -> Explanation:
    parts = tuple(_part_share_of(part) for part in members["parts"])
    rankings = tuple(_known(RankingShare, ranking) for ranking in members["rankings"])
    codes, names = _codes_of(members.get("codes")), tuple(members.get("names", ()))
    return _known(Explanation, {**members, "parts": parts, "rankings": rankings, "codes": codes, "names": names})


def _part_share_of(members: Mapping[str, Any]) -> PartShare:
    words = tuple(SharedWord(word["word"], tuple(word["fields"])) for word in members["words"])
    names = tuple(members.get("names", ()))
    return _known(PartShare, {**members, "words": words, "names": names, "codes": _codes_of(members.get("codes"))})


def _codes_of(members: Mapping[str, Any] | None) -> SharedCodes | None:
    return None if members is None else _known(SharedCodes, {**members, "agree": tuple(members["agree"])})


def _known(kind: type[T], members: Mapping[str, Any]) -> T:
    """A record of the members that this client knows; a newer service may answer with more."""
    return kind(**{each.name: members[each.name] for each in fields(kind) if each.name in members})  # type: ignore[arg-type]
