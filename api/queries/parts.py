"""The parts of a query, from their wire form to the engine's: shared by queries in JSON and in forms."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyseek.api.contents import Region, reading_of, sent_mask, sent_reading
from anyseek.api.queries import wire
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.reading.documents import parse_text
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Embedder
from anyseek.search.assets import PICTURE, PictureOf
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.filters.from_text import filter_from_json, filter_from_text
from anyseek.search.filters.tree import Filter
from anyseek.search.query.queries import check_taken
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Words


def check_count(count: int, limits: Limits) -> None:
    """Raises `LimitExceeded` for a query of too many parts."""
    if count > limits.parts:
        raise LimitExceeded(f"a query has at most {limits.parts} parts; this one has {count}")


def filter_of(where: Any) -> Filter | None:
    """A filter as it was sent, written or as JSON. Raises `BadFilter`."""
    if where is None:
        return None
    return filter_from_text(where) if isinstance(where, str) else filter_from_json(where)


def parts_and_words(read: Sequence[Part | Words]) -> tuple[tuple[Part, ...], tuple[Words, ...]]:
    """The parts that the model takes, and the words that are looked for themselves, each in their order."""
    parts = tuple(part for part in read if isinstance(part, Part))
    return parts, tuple(part for part in read if isinstance(part, Words))


def words_part(text: str | None, weight: float, called: str, limits: Limits) -> Words:
    """A part of words. Raises `BadQuery` for what is no text, and `BadText`."""
    if text is None:
        raise BadQuery(f"{called} is words, which are a text")
    return Words(parse_text(text, limits, called), weight)


def part_from_wire(
    part: wire.Part, limits: Limits, number: int, embedder: Embedder, picture_of: PictureOf
) -> Part | Words:
    """One part, the `number`th of its query. Raises as `anyseek.api.queries.conversion.query_from_wire` does."""
    contents = {"text": part.text, "file": part.file, "data": part.data, "item": part.item, "vector": part.vector}
    found = [member for member, content in contents.items() if content is not None]
    if len(found) != 1:
        several = " and ".join(found) or "none"
        raise BadQuery(f"part {number} has {several} of text, data, item and vector; give exactly one")
    _check_members(part, number)
    region = part.box if part.mask is None else sent_mask(part.mask, part.name or f"part {number}")
    if part.item is not None and region is not None:
        data = picture_of(part.item, part.collection)
        return region_of_item(part.item, data, region, part.weight, limits, embedder)
    if part.item is not None:
        return Part(item=part.item, weight=part.weight, collection=part.collection)
    if part.vector is not None:
        return vector_part(part.vector, part.modality, part.weight)
    if part.modality == wire.WORDS:
        return words_part(part.text, part.weight, part.name or f"part {number}", limits)
    if part.modality is None and part.text is None:
        raise BadQuery(f"part {number} has data but no modality; name one, such as rgb")
    kind = known_modality(part.modality or "caption")
    check_taken(kind.name, embedder)
    read = sent_reading(part, kind, f"part {number} ({part.modality or 'caption'})", limits, part.form, region)
    return Part(kind.name, read.value, weight=part.weight, understood=read.understood)


def _check_members(part: wire.Part, number: int) -> None:
    """Raises `BadQuery` for a member that would have no effect."""
    is_file = part.data is not None or part.file is not None
    if part.box is not None and part.mask is not None:
        raise BadQuery(f"part {number} has a box and a mask; give one or the other")
    for name, region in (("box", part.box), ("mask", part.mask)):
        if region is not None and not is_file and part.item is None:
            raise BadQuery(f"part {number} has a {name}, but neither data nor an item; a {name} is of a picture")
    if part.form is not None and (not is_file or part.modality == wire.WORDS):
        raise BadQuery(f"part {number} has a form, but no data; a form says what the numbers of a file mean")
    is_map = is_file and part.modality is not None and part.modality != wire.WORDS and _is_segmentation(part.modality)
    if part.classes is not None and not is_map:
        raise BadQuery(f"part {number} has classes, but is no file of a segmentation (semseg), whose classes they name")
    if part.collection is not None and part.item is None:
        raise BadQuery(f"part {number} names a collection, but no item; give the key of one of its items, too")


def _is_segmentation(modality: str) -> bool:
    return known_modality(modality).content is Content.REGIONS


def vector_part(given: Any, modality: str | None, weight: float) -> Part:
    """A part that is a vector of the model's. Raises `BadQuery`."""
    with np.errstate(over="ignore"):  # what is too large has no direction, which the engine says
        vector = np.asarray(given, np.float32)
    return Part(None if modality is None else known_modality(modality).name, vector=vector, weight=weight)


def region_of_item(key: str, data: bytes, region: Region, weight: float, limits: Limits, embedder: Embedder) -> Part:
    """A part of an item's picture, as if that had been sent. Raises `DecodeError`, and `BadQuery`."""
    check_taken(PICTURE, embedder)
    read = reading_of(PICTURE, data, limits, f"the picture of {key!r}", None, None, region)
    return Part(PICTURE, read.value, weight=weight, understood=read.understood)
