"""What a photo's file says beside its pixels, as attributes of its item and, if nothing else does, as its caption."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from anyseek.indexer.photo_metadata import places
from anyseek.indexer.photo_metadata.exif import read_exif
from anyseek.indexer.photo_metadata.words import Words, caption_of, read_words
from anyseek.indexer.samples import DECODING_VERSION, PICTURE, RawFile
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import BrokenPicture
from anyseek.model.modalities.reading.pictures import decoding, decoding_version, exif_of, open_picture, upright_size
from anyseek.search.filters.tree import Moment
from anyseek.search.settings import Photos, Settings
from anyseek.search.types import Attributes

logger = logging.getLogger(__name__)

# Raise it when more is read, or otherwise: the next `anyseek index` then reads the photos again that are there.
READING_VERSION = "1"

PLACE = "place"
_COORDINATES = frozenset({"lat", "lon"})
_FORMATS = {"MPO": "JPEG", "JXL": "JPEG XL"}  # what people call Pillow's formats
_XMP_TAG, _IPTC_RESOURCE = 700, 0x0404


@dataclass(frozen=True)
class PhotoMetadata:
    """What was read: attributes in JSON, and a caption if somebody wrote words into the file. `decoding_version` is
    that of the picture's pixels.
    """

    attributes: Attributes = field(default_factory=dict)
    caption: str | None = None
    decoding_version: str = DECODING_VERSION


def version(photos: Photos) -> str:
    """What decides on how much is read of the same file: this code, the settings and the table of places."""
    if not photos.metadata:
        return ""
    return f"{READING_VERSION}:{places.version() or 'no towns'}" if photos.places else f"{READING_VERSION}:no places"


def read_metadata(files: Sequence[RawFile], settings: Settings) -> PhotoMetadata:
    """Read the metadata of the picture among an item's files, none if there is no picture.

    Raises `DecodeError` if it is none that can be decoded; damaged metadata is left out.
    """
    picture = next((file for file in files if file.modality == PICTURE), None)
    if picture is None:
        return PhotoMetadata()
    image = open_picture(Encoded(picture.data, picture.name, settings.limits))
    if not settings.photos.metadata:
        return PhotoMetadata(decoding_version=decoding_version(image))
    words = _words(image, picture.name)
    found = _of_file(image, len(picture.data)) | _exif(image, picture.name) | _written(words)
    if words.taken and Moment.parse(words.taken):
        found.setdefault("taken", words.taken)
    if not settings.photos.places:
        found.pop(PLACE, None)
    elif PLACE in found:
        found[PLACE] |= _town(found[PLACE])
    return PhotoMetadata(found, caption_of(words, settings.limits.text_characters), decoding_version(image))


def joined(given: Attributes, read: Attributes) -> dict[str, Any]:
    """The attributes that somebody gave, and those read from the file where nothing was given.

    Objects are joined member by member; a place with coordinates is not, because towns belong to coordinates.
    """
    both = {**given, **{name: value for name, value in read.items() if name not in given}}
    for name, value in read.items():
        mine = given.get(name)
        is_whole = name == PLACE and isinstance(mine, Mapping) and mine.keys() & _COORDINATES
        if isinstance(mine, Mapping) and isinstance(value, Mapping) and not is_whole:
            both[name] = {**value, **mine}
    return both


def _of_file(image: Image.Image, size: int) -> dict[str, Any]:
    """The size of the picture when it is upright, and of its file."""
    width, height = upright_size(image)
    shape = "square" if width == height else "landscape" if width > height else "portrait"
    kind = image.format or ""
    return {
        "width": width,
        "height": height,
        "orientation": shape,
        "file_size": size,
        "format": _FORMATS.get(kind, kind),
    }


def _exif(image: Image.Image, name: str) -> dict[str, Any]:
    try:
        with decoding(name):
            return read_exif(exif_of(image))
    except BrokenPicture as error:
        logger.info("the EXIF was left out: %s", error)
        return {}


def _words(image: Image.Image, name: str) -> Words:
    try:
        with decoding(name):
            resources = image.info.get("photoshop")
            iptc = resources.get(_IPTC_RESOURCE) if isinstance(resources, Mapping) else None
            return read_words(_bytes(image.info.get("xmp") or exif_of(image).get(_XMP_TAG)), _bytes(iptc))
    except BrokenPicture as error:
        logger.info("the words were left out: %s", error)
        return Words()


def _written(words: Words) -> dict[str, Any]:
    fields = {
        "title": words.title,
        "description": words.description,
        "keywords": list(words.keywords),
        "rating": words.rating,
    }
    return {name: value for name, value in fields.items() if value}


def _town(place: Mapping[str, float]) -> dict[str, str]:
    town = places.nearest_town(place["lat"], place["lon"])
    return {} if town is None else {name: value for name, value in asdict(town).items() if value}


def _bytes(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None
