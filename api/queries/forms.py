"""Queries from multipart forms, whose fields are the parts and settings of a query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyseek.api.contents import (
    Region,
    Upload,
    check_named,
    forms_from_json,
    legend_from_json,
    uploaded_reading,
    weight_of_field,
)
from anyseek.api.forms import divided, number, numbers_of, text_of, texts, truth, whole_number
from anyseek.api.queries import wire
from anyseek.api.queries.parts import check_count, filter_of, parts_and_words, region_of_item, vector_part, words_part
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.seam import Embedder, Fusion
from anyseek.search.answers.explanation import MOST_EXPLAINED
from anyseek.search.assets import PICTURE, PictureOf
from anyseek.search.errors import BadQuery
from anyseek.search.query.queries import check_taken
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query, Words

_SETTINGS = (
    *("box", "classes", "cursor", "explain", "facets", "forms", "fusion", "group_by", "group_size", "k"),
    *("min_probability", "min_score", "offset", "space", "spaces", "vectors", "where"),
)
_NO_FILES = ("item", "vector", wire.WORDS)


def collections_of_form(uploads: Sequence[Upload]) -> tuple[tuple[str, ...], list[Upload]]:
    """The collections that a form names, and its other fields. Raises `BadQuery`."""
    named = [upload for upload in uploads if upload.field == "collections"]
    if len(named) != 1:
        raise BadQuery('the form needs one field collections, such as ["photos", "scans"]')
    others = [upload for upload in uploads if upload.field != "collections"]
    return texts("collections", text_of(named[0])), others


def query_from_form(uploads: Sequence[Upload], limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """A query from a form with fields for parts (modalities, `item`, `vector`, `words`; `:0.7` is a weight) and
    `_SETTINGS`.

    Raises `BadInput`, `BadQuery`, `BadFilter`, `LimitExceeded`, `UnknownModality`, `DecodeError`, and what
    `picture_of` raises.
    """
    mask, uploads = _mask_of(uploads)
    settings, contents = divided(uploads, _SETTINGS, others=_NO_FILES)
    check_count(len(contents), limits)
    classes = legend_from_json(settings["classes"], limits) if "classes" in settings else None
    forms = forms_from_json(settings["forms"], limits) if "forms" in settings else {}
    check_named(classes, forms, [upload for upload in contents if weight_of_field(upload.field)[0] not in _NO_FILES])
    told = _Told(classes, forms, *_regions(settings.get("box"), mask, contents), picture_of)
    parts, words = parts_and_words([_part_from_upload(upload, limits, told, embedder) for upload in contents])
    if not parts and not words:
        raise BadQuery(
            "the form has no part; it needs a field named by a modality, such as caption or rgb, or named item"
        )
    return _query(parts, words, settings, limits)


def _query(parts: tuple[Part, ...], words: tuple[Words, ...], settings: Mapping[str, str], limits: Limits) -> Query:
    """The query that has these parts, with what other fields say. Raises `BadQuery`, `BadFilter`."""

    def whole(name: str, default: int, least: int, most: int) -> int:
        return whole_number(name, settings.get(name, str(default)), least, most)

    def real(name: str) -> float | None:
        return number(name, settings[name]) if name in settings else None

    return Query(
        parts,
        whole("k", wire.DEFAULT_HITS, 1, limits.hits),
        settings.get("space"),
        filter_of(settings.get("where")),
        _fusion(settings.get("fusion")),
        whole("offset", 0, 0, limits.hits - 1),
        real("min_score"),
        truth("vectors", settings.get("vectors", "false")),
        settings.get("group_by"),
        whole("group_size", 1, 1, limits.hits),
        words,
        facets=texts("facets", settings.get("facets", "[]")),
        cursor=settings.get("cursor"),
        spaces=texts("spaces", settings.get("spaces", "[]")),
        explain=whole("explain", 0, 0, MOST_EXPLAINED),
        min_probability=real("min_probability"),
    )


def _fusion(text: str | None) -> Fusion | None:
    """A form's field. Raises `BadQuery`."""
    if text is None:
        return None
    try:
        return Fusion(text)
    except ValueError:
        raise BadQuery(f"fusion is {', '.join(Fusion)}, not {text[:20]!r}") from None


@dataclass(frozen=True)
class _Told:
    """What the other fields of a form say of its contents; a region is of its pictures, or else of its items."""

    classes: dict[int, str] | None
    forms: Mapping[str, str]
    region_of_pictures: Region | None
    region_of_items: Region | None
    picture_of: PictureOf


def _mask_of(uploads: Sequence[Upload]) -> tuple[bytes | None, list[Upload]]:
    """The file of the field `mask`, and the other fields. Raises `BadQuery`."""
    masks = [upload for upload in uploads if upload.field == "mask"]
    if len(masks) > 1:
        raise BadQuery("the form has the field mask twice; send it once")
    if masks and not isinstance(masks[0].content, bytes):
        raise BadQuery("the field mask is a text; send a file, a PNG of numbers in which what is not 0 counts")
    mask = masks[0].content if masks else None
    assert not isinstance(mask, str)
    return mask, [upload for upload in uploads if upload.field != "mask"]


def _regions(text: str | None, mask: bytes | None, contents: Sequence[Upload]) -> tuple[Region | None, Region | None]:
    """The part of the pictures in a form that counts, and that of its items where it has no picture. Raises
    `BadQuery`.
    """
    if text is None and mask is None:
        return None, None
    if text is not None and mask is not None:
        raise BadQuery("the form has a box and a mask; send one or the other")
    region: Region = mask if text is None else tuple(numbers_of(Upload("box", text)))  # type: ignore[assignment]
    named = [weight_of_field(upload.field)[0] for upload in contents]
    if any(name not in _NO_FILES and known_modality(name).name == PICTURE for name in named):
        return region, None
    if "item" not in named:
        what = "mask" if text is None else "box"
        raise BadQuery(f"the form has a {what}, but neither a picture nor an item; a {what} is of a picture")
    return None, region


def _part_from_upload(upload: Upload, limits: Limits, told: _Told, embedder: Embedder) -> Part | Words:
    name, given = weight_of_field(upload.field)
    weight = 1.0 if given is None else given
    if name == "item" and told.region_of_items is not None:
        key = text_of(upload)
        data = told.picture_of(key, None)
        return region_of_item(key, data, told.region_of_items, weight, limits, embedder)
    if name == "item":
        return Part(item=text_of(upload), weight=weight)
    if name == wire.WORDS:
        return words_part(text_of(upload), weight, "the field words", limits)
    if name == "vector":
        return vector_part(numbers_of(upload), None, weight)
    kind = known_modality(name)
    check_taken(kind.name, embedder)
    region = told.region_of_pictures if kind.name == PICTURE else None
    read = uploaded_reading(upload, kind, limits, told.classes, told.forms.get(kind.name), region)
    return Part(kind.name, read.value, weight=weight, understood=read.understood)
