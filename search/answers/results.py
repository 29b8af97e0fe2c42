"""Answers to queries, as the engine makes them, the service writes them as JSON and clients read them.

Imports nothing heavy, so that a client starts at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from anyseek.search.json_types import ANSWER

GroupValue = str | float | bool
Fusion = Literal["joint", "late", "ranks"]
MAX_EXPLAINED = 20  # hits and items of one query


@dataclass(frozen=True)
class SharedWord:
    """A word that a part's text and an item have in common, as full text compares words."""

    word: str
    fields: tuple[str, ...]
    """where the item has it: `key`, `caption`, or the path of an attribute"""


@dataclass(frozen=True)
class SharedCodes:
    """The agreement of the codes of a query, or of a part of one, with those of an item; both have `of` codes."""

    agree: tuple[int, ...]
    """the places, from 0, at which both have the same code"""
    of: int
    count: int
    """how many codes there are to choose from at a place"""
    choices: float | None
    """between how many codes the model wavers at a place, from 1, which is sure, to `count`: the exponential of the
    mean entropy; null for an item of the query, of which nothing is predicted"""
    likelier: float | None
    """how many times likelier than by chance the model finds the item's codes: the geometric mean over the places"""


@dataclass(frozen=True)
class PartShare:
    """The relation of one part of a query to an item."""

    modality: str | None
    """`words` for words that are looked for in texts; null for an item or a vector"""
    text: str | None
    """the words of a caption or of `words`"""
    item: str | None
    """the key of an item that is part of the query"""
    weight: float
    space: str | None
    """the space that was searched for the part; null for words"""
    similarity: float | None
    """the cosine of the part alone and the item, higher is more alike, for a negative part too; null for words"""
    rank: int | None
    """the item's rank in a query of the part alone; null if it is not among the first `depth`"""
    score_without: float | None
    """the item's score in the query without this part; null if no part with a weight above 0 remains"""
    rank_without: int | None
    """the item's rank then; null also if it is not among the first `depth`"""
    contribution: float | None
    """the item's score less `score_without`"""
    words: tuple[SharedWord, ...] = ()
    """what the text of the part, or the item that is the part, has in common with this item"""
    names: tuple[str, ...] = ()
    """words that probably fit both the part and the item; empty where none does, or the model has none for the space"""
    codes: SharedCodes | None = None
    """null where the space is not predicted as codes, and for words and vectors"""


@dataclass(frozen=True)
class RankingShare:
    """The share of one of several added rankings in an item's score; the shares add up to it."""

    space: str | None
    """null for words"""
    weight: float
    """below 0 if it lowers what it finds"""
    rank: int | None
    """the item's place in the ranking; null if it is not among the first `depth`"""
    share: float


@dataclass(frozen=True)
class Explanation:
    """Why an item has its score."""

    key: str
    score: float
    rank: int | None
    """its rank among all items that pass the filter, regardless of groups; null if not among the first `depth`"""
    depth: int
    """the number of best items that were retrieved"""
    parts: tuple[PartShare, ...]
    rankings: tuple[RankingShare, ...] = ()
    """those that were added; empty if the query is one ranking"""
    codes: SharedCodes | None = None
    """of all parts together if they were embedded jointly as codes, else null"""
    names: tuple[str, ...] = ()
    """the word that probably says what the item shows, of each space searched; empty where none does"""
    note: str | None = None
    """why there are no codes, if there are none"""


@dataclass(frozen=True)
class Hit:
    """One hit. In a batch it has only key, score, rank, probability and group."""

    __pydantic_config__: ClassVar[dict[str, Any]] = ANSWER | {
        "json_schema_extra": {"example": {"key": "holiday/0042.jpg", "score": 0.83, "rank": 1, "assets": ["rgb"]}}
    }

    key: str
    score: float
    """cosine, higher is better, less what hubs have too much of (`anyseek.search.query.hubs`); of added rankings what
    `anyseek.search.query.rankings` makes of them"""
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
    """how likely the asker would call it right, from 0 to 1; null unless the query is the name of a thing in at
    most three words, and in collections too small to tell"""


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
class Interpretation:
    """The interpretation of one part's file, where its format leaves something open."""

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
    understood: tuple[Interpretation, ...] = ()
    """how files were read whose format leaves something open, in the order of their parts"""


@dataclass(frozen=True)
class Refusal:
    """Why one query of a batch has no hits."""

    error: str
