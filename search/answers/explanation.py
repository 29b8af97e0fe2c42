"""Explanations of hits: what each part of the query contributes, and what it has in common with the item.

`anyseek.search.answers.explaining` makes them and the service serialises them as they are. Imports nothing heavy, so
that a client starts quickly.
"""

from dataclasses import dataclass

MOST_EXPLAINED = 20  # hits and items of one query


@dataclass(frozen=True)
class SharedWord:
    """A word that a part's text and an item have in common, as full text compares words."""

    word: str
    fields: tuple[str, ...]
    """where the item has it: `key`, `caption`, or the path of an attribute"""


@dataclass(frozen=True)
class SharedCodes:
    """How the codes of a query, or of a part of one, and those of an item agree; both have `of` codes."""

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
    """What one part of a query has to do with an item."""

    modality: str | None
    """`words` for words that are looked for in texts; null for an item or a vector"""
    text: str | None
    """the words of a caption or of `words`"""
    item: str | None
    """the key of an item that is part of the query"""
    weight: float
    space: str | None
    """where the part was looked for; null for words"""
    similarity: float | None
    """the cosine of the part alone and the item, higher is more alike, for a negative part too; null for words"""
    rank: int | None
    """the item's place among what the part alone finds; null if it is not among the first `depth`"""
    score_without: float | None
    """the item's score if the query had not this part; null if nothing wanted were left"""
    rank_without: int | None
    """the item's place then; null also if it were not among the first `depth`"""
    contribution: float | None
    """the item's score less `score_without`"""
    words: tuple[SharedWord, ...] = ()
    """what the text of the part, or the item that is the part, has in common with this item"""
    names: tuple[str, ...] = ()
    """words that the model finds for both the part and the item, best first; empty where it knows none in the space"""
    codes: SharedCodes | None = None
    """null where the space is not predicted as codes, and for words and vectors"""


@dataclass(frozen=True)
class RankingShare:
    """What one of several added rankings gives to an item's score; their shares add up to it."""

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
    """its place among all items that pass the filter, groups or not; null if it is not among the first `depth`"""
    depth: int
    """how many of the best items were looked at"""
    parts: tuple[PartShare, ...]
    rankings: tuple[RankingShare, ...] = ()
    """those that were added; empty if the query is one ranking"""
    codes: SharedCodes | None = None
    """of all parts together if they were embedded jointly as codes, else null"""
    names: tuple[str, ...] = ()
    """the words that the model finds for the item, best first, whether they fit or not"""
    note: str | None = None
    """why there are no codes, if there are none"""
