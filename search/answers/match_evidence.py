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
from anyseek.search.query.words import longest, words_by_field, words_of
from anyseek.search.types import Item

# Words of captions and file names that carry no meaning.
_STOP_WORDS = frozenset(
    words_of("a an and are at by for from in is it its of on or the this that to with png jpg jpeg webp")
)
# Attributes that describe the file of a picture, and not what it shows.
_FILE_ATTRIBUTES = frozenset({"width", "height", "orientation", "format"})
# A longer text that is equal in two items, such as a licence, is usually in many items.
_MAX_EQUAL_WORDS = 3


def shared_words(part: Part, item: Item, query_items: Mapping[str, Item]) -> tuple[SharedWord, ...]:
    """The words that `item` shares with a part's text, or with the item that is the part, from `query_items` by key.

    Each comes with the fields of `item` that have it. Stop words count only in parts of the modality `words`.
    """
    fields_by_name = words_by_field(item.key, item.caption, item.attributes)
    if part.modality == WORDS:
        words = words_of(part.value)
    elif (other := query_items.get(part.item or "")) is not None:
        fields_by_name = _descriptive_fields(item)
        words = _descriptive_words(_descriptive_fields(other), fields_by_name)
    else:
        words = words_of(part.value) if isinstance(part.value, str) else []
    if part.modality != WORDS:
        words = [word for word in words if word not in _STOP_WORDS]
    unique = dict.fromkeys(words)
    by_word = {word: tuple(name for name, held in fields_by_name.items() if word in held) for word in unique}
    return tuple(SharedWord(word, fields) for word, fields in by_word.items() if fields)


def _descriptive_fields(item: Item) -> dict[str, frozenset[str]]:
    """The words of the fields that describe what an item shows: no URLs, and no properties of its file."""
    own = {name: value for name, value in item.attributes.items() if not (isinstance(value, str) and "://" in value)}
    fields = words_by_field("", item.caption, own)
    return {name: words for name, words in fields.items() if name not in _FILE_ATTRIBUTES}


def _descriptive_words(fields: Mapping[str, frozenset[str]], others: Mapping[str, frozenset[str]]) -> list[str]:
    """The words of an item that may explain why another is similar; numbers do not."""
    own = [words for name, words in fields.items() if len(words) <= _MAX_EQUAL_WORDS or words != others.get(name)]
    return [word for words in own for word in longest(sorted(words)) if not word.isdigit()]


Codes = npt.NDArray[np.int64]
_MIN_PROBABILITY = 1e-30  # a probability, so that its logarithm is finite
_JOINT = -1  # the place of all parts of a joint query


@dataclass(frozen=True)
class _PartCodes:
    """The codes (h,) of a part, and the predicted probabilities of all codes (h, K); None for an item of the query."""

    codes: Codes
    probabilities: FloatArray | None

    def shared(self, item_codes: Codes, count: int) -> SharedCodes:
        """The agreement with the codes (h,) of an item."""
        agree = tuple(np.flatnonzero(self.codes == item_codes).tolist())
        if self.probabilities is None:
            return SharedCodes(agree, len(item_codes), count, None, None)
        logarithms = np.log(np.maximum(self.probabilities.astype(np.float64), _MIN_PROBABILITY))
        entropy = -(self.probabilities * logarithms).sum(axis=1).mean()
        of_item = logarithms[np.arange(len(item_codes)), item_codes].mean()
        return SharedCodes(agree, len(item_codes), count, float(np.exp(entropy)), float(np.exp(of_item) * count))


@dataclass(frozen=True)
class RankingCodes:
    """The codes of a ranking's parts by place, of all parts together if they were joint, and of items by id.

    `count` is the number of possible codes at a place.
    """

    parts: Mapping[int, _PartCodes] = field(default_factory=dict)
    items: Mapping[int, Codes] = field(default_factory=dict)
    count: int = 0

    def shared(self, place: int, item_id: int) -> SharedCodes | None:
        """The codes that a part and an item share; None if either has none."""
        part_codes, item_codes = self.parts.get(place), self.items.get(item_id)
        return None if part_codes is None or item_codes is None else part_codes.shared(item_codes, self.count)

    def joint_codes(self, item_id: int) -> SharedCodes | None:
        """The codes that all parts of a joint query share with an item."""
        return self.shared(_JOINT, item_id)


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
    predicted = embedder.code_probabilities(list(samples.values()), space)
    by_place = zip(samples, predicted, strict=True)
    part_codes = {place: _PartCodes(each.argmax(axis=1), each) for place, each in by_place}
    for place, part in enumerate(plan.parts):
        vector = None if part.item is None else stored.get((part.collection, part.item))
        if isinstance(vector, np.ndarray):
            part_codes[place] = _PartCodes(embedder.codes_of(vector[np.newaxis], space)[0], None)
    item_codes = embedder.codes_of(np.stack(list(vectors.values())), space)
    return RankingCodes(part_codes, dict(zip(vectors, item_codes, strict=True)), predicted.shape[2])


def missing_codes_note(embedder: Embedder, spaces: Sequence[str]) -> str | None:
    """A note on why there are no codes in some spaces; None if one has codes, or the query has only words."""
    code_spaces = embedder.code_spaces if isinstance(embedder, CodeEmbedder) else frozenset[str]()
    if not spaces or code_spaces.intersection(spaces):
        return None
    named = " and ".join(dict.fromkeys(spaces))
    others = (
        f"name a space that is: {', '.join(sorted(code_spaces))}" if code_spaces else f"no space of {embedder.name} is"
    )
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
        samples[_JOINT] = Sample(dict(values.values()))
    return samples


_MAX_NAMES = 8  # of a part
_MAX_ITEM_NAMES = 1  # the second is seldom right


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
        """The names of an item."""
        return self.items.get(item_id, ())


def ranking_names(
    embedder: Embedder, space: str, parts: Mapping[int, FloatArray], items: Mapping[int, FloatArray]
) -> Names:
    """The names of the vectors (d,) of parts, and the best of items; none if the model has no words for the space."""
    if not isinstance(embedder, NamingEmbedder) or space not in embedder.naming_spaces:
        return Names()
    rows = [*parts.values(), *items.values()]
    if not rows:
        return Names()
    names = embedder.names(np.stack(rows), space, _MAX_NAMES)
    best = [each[:_MAX_ITEM_NAMES] for each in names[len(parts) :]]
    return Names(dict(zip(parts, names, strict=False)), dict(zip(items, best, strict=True)))
