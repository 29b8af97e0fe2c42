"""Evidence shared by a part of a query and an item: words of their texts, predicted codes, and the model's names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anyseek.model.image_attributes import NamingEmbedder
from anyseek.model.seam import CodeEmbedder, Embedder, FloatArray, Fusion, Sample
from anyseek.search.answers.results import SharedCodes, SharedWord
from anyseek.search.query.planning import Plan
from anyseek.search.query.query import WORDS, Part
from anyseek.search.query.vectors import ItemVectors
from anyseek.search.query.words import words_by_field, words_of
from anyseek.search.types import Item

# Words of captions and file names that carry no meaning alone.
_STOP_WORDS = frozenset(
    words_of("a an and are at by for from in is it its of on or the this that to with png jpg jpeg webp")
)
# Attributes that say what the file of a picture is, and not what it shows.
_OF_FILES = frozenset({"width", "height", "orientation", "format"})
# A longer text that two items have word for word, such as a licence, is of many items.
_LONGEST_ALIKE = 3


def shared_words(part: Part, item: Item, likened: Mapping[str, Item]) -> tuple[SharedWord, ...]:
    """The words of a part's text in `item`, with the fields that have them; of an item, those of `likened` by its key.

    Words that say nothing, such as "of", count only where they were looked for as words.
    """
    held = words_by_field(item.key, item.caption, item.attributes)
    if part.modality == WORDS:
        wanted = words_of(part.value)
    elif (other := likened.get(part.item or "")) is not None:
        held = _telling_fields(item)
        wanted = _likening_words(_telling_fields(other), held)
    else:
        wanted = words_of(part.value) if isinstance(part.value, str) else []
    if part.modality != WORDS:
        wanted = [word for word in wanted if word not in _STOP_WORDS]
    found = {word: tuple(name for name, words in held.items() if word in words) for word in dict.fromkeys(wanted)}
    return tuple(SharedWord(word, fields) for word, fields in found.items() if fields)


def _telling_fields(item: Item) -> dict[str, frozenset[str]]:
    """The words of the fields that say what an item is: not addresses and facts of its file."""
    kept = {name: value for name, value in item.attributes.items() if not (isinstance(value, str) and "://" in value)}
    return {name: words for name, words in words_by_field("", item.caption, kept).items() if name not in _OF_FILES}


def _likening_words(fields: Mapping[str, frozenset[str]], others: Mapping[str, frozenset[str]]) -> list[str]:
    """The words of one item that may tell why another is like it; numbers do not."""
    own = [words for name, words in fields.items() if len(words) <= _LONGEST_ALIKE or words != others.get(name)]
    return [word for words in own for word in sorted(words) if not word.isdigit()]


Codes = npt.NDArray[np.int64]
_LEAST = 1e-30  # a probability, so that its logarithm is finite
_TOGETHER = -1  # the place of all parts of a joint query


@dataclass(frozen=True)
class _PartCodes:
    """The codes (h,) of a part, and how likely the model finds all codes: (h, K), None of an item of the query."""

    codes: Codes
    probabilities: FloatArray | None

    def shared(self, held: Codes, count: int) -> SharedCodes:
        """The codes shared with those (h,) of an item."""
        agree = tuple(np.flatnonzero(self.codes == held).tolist())
        if self.probabilities is None:
            return SharedCodes(agree, len(held), count, None, None)
        logarithms = np.log(np.maximum(self.probabilities.astype(np.float64), _LEAST))
        entropy = -(self.probabilities * logarithms).sum(axis=1).mean()
        of_item = logarithms[np.arange(len(held)), held].mean()
        return SharedCodes(agree, len(held), count, float(np.exp(entropy)), float(np.exp(of_item) * count))


@dataclass(frozen=True)
class RankingCodes:
    """The codes of a ranking's parts by their places, of all together if they were joint, and of items by id.

    `count` is how many codes there are at a place.
    """

    parts: Mapping[int, _PartCodes] = field(default_factory=dict)
    items: Mapping[int, Codes] = field(default_factory=dict)
    count: int = 0

    def shared(self, place: int, item_id: int) -> SharedCodes | None:
        """The codes that a part and an item share; None if either has none."""
        told, held = self.parts.get(place), self.items.get(item_id)
        return None if told is None or held is None else told.shared(held, self.count)

    def together(self, item_id: int) -> SharedCodes | None:
        """The codes that all parts of a joint query share with an item."""
        return self.shared(_TOGETHER, item_id)


def ranking_codes(
    embedder: Embedder, plan: Plan, stored: ItemVectors, vectors: Mapping[int, FloatArray]
) -> RankingCodes:
    """The codes of a ranking and of items with raw `vectors` by id; none if its space is not predicted as codes.

    `stored` has the raw vectors of items that are parts. Takes one pass of the model.
    """
    space = plan.space.name
    if not isinstance(embedder, CodeEmbedder) or space not in embedder.code_spaces or not vectors:
        return RankingCodes()
    samples = _samples(plan)
    found = embedder.code_probabilities(list(samples.values()), space)
    told = {place: _PartCodes(of_part.argmax(axis=1), of_part) for place, of_part in zip(samples, found, strict=True)}
    for place, part in enumerate(plan.parts):
        vector = None if part.item is None else stored.get((part.collection, part.item))
        if isinstance(vector, np.ndarray):
            told[place] = _PartCodes(embedder.codes_of(vector[np.newaxis], space)[0], None)
    own = embedder.codes_of(np.stack(list(vectors.values())), space)
    return RankingCodes(told, dict(zip(vectors, own, strict=True)), found.shape[2])


def why_none(embedder: Embedder, spaces: Sequence[str]) -> str | None:
    """Why there are no codes in some spaces; None if one of them has codes, or words alone were asked for."""
    known = embedder.code_spaces if isinstance(embedder, CodeEmbedder) else frozenset[str]()
    if not spaces or known.intersection(spaces):
        return None
    named = " and ".join(dict.fromkeys(spaces))
    others = f"name a space that is: {', '.join(sorted(known))}" if known else f"no space of {embedder.name} is"
    return f"{named} is not predicted as codes, so none can be compared; {others}"


def _samples(plan: Plan) -> dict[int, Sample]:
    """The model's input for each part with a value, and for all together where they are joint."""
    values = {
        place: (part.modality, part.value)
        for place, part in enumerate(plan.parts)
        if part.modality is not None and part.value is not None
    }
    samples = {place: Sample({modality: value}) for place, (modality, value) in values.items()}
    if plan.fusion is Fusion.JOINT and len(values) > 1:
        samples[_TOGETHER] = Sample(dict(values.values()))
    return samples


_MOST_NAMES = 8  # of a part, and of an item
_SHOWN = 3  # names of an item by itself


@dataclass(frozen=True)
class Names:
    """Names, as words of the model, of a ranking's parts by their places and of items by id, best first."""

    parts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    items: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def shared(self, place: int, item_id: int) -> tuple[str, ...]:
        """The names that a part and an item have in common."""
        of_part = self.parts.get(place, ())
        return tuple(name for name in self.items.get(item_id, ()) if name in of_part)

    def of_item(self, item_id: int) -> tuple[str, ...]:
        """The best names of an item."""
        return self.items.get(item_id, ())[:_SHOWN]


def ranking_names(
    embedder: Embedder, space: str, parts: Mapping[int, FloatArray], items: Mapping[int, FloatArray]
) -> Names:
    """The names of the vectors (d,) of parts and of items; none in a space for which the model has no words."""
    if not isinstance(embedder, NamingEmbedder) or space not in embedder.naming_spaces:
        return Names()
    rows = [*parts.values(), *items.values()]
    if not rows:
        return Names()
    found = embedder.names(np.stack(rows), space, _MOST_NAMES)
    return Names(dict(zip(parts, found, strict=False)), dict(zip(items, found[len(parts) :], strict=True)))
