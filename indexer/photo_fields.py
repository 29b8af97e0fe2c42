"""Metadata in a photo's file: descriptive fields (XMP, IPTC), and capture time, camera, lens and position (EXIF).

Programs write title, description, keywords and rating as XMP, older ones as IPTC; XMP takes precedence. Cameras pad
unknown EXIF fields with spaces, zeros or NULs; such fields count as absent.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from anyseek.search.filters.tree import Moment

MAX_CHARACTERS = {"title": 500, "description": 2_000, "keyword": 100}
MAX_KEYWORDS = 100
_MAX_XMP_BYTES = 1024 * 1024  # larger packets contain pictures or an edit history

_RDF, _DC = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://purl.org/dc/elements/1.1/}"
_RATING = "{http://ns.adobe.com/xap/1.0/}Rating"
_TIMES = (
    "{http://ns.adobe.com/exif/1.0/}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
)

# Datasets of IPTC's application record, by name.
_IPTC = {5: "title", 25: "keywords", 120: "description"}
_IPTC_MARKER, _IPTC_RECORD = 0x1C, 2
_MAX_DATASETS = 2_000

# Cameras write their own name as the description of every photo.
_CAMERA_DEFAULT = re.compile(r"(\w+ )?digital camera|sony dsc|samsung( camera pictures)?|dcim.*|default|untitled", re.I)


@dataclass(frozen=True)
class DescriptiveMetadata:
    """Descriptive metadata of a photo; `rating` is -1 (rejected), 0 (none) or 1 to 5, `taken` a time as in XMP."""

    title: str | None = None
    description: str | None = None
    keywords: Sequence[str] = ()
    rating: int | None = None
    taken: str | None = None


def read_descriptive_metadata(xmp: bytes | None, iptc: bytes | None) -> DescriptiveMetadata:
    """The fields of an XMP packet and an IPTC record; damaged ones are treated as empty."""
    xmp_fields, iptc_fields = _parse_xmp(xmp or b""), _parse_iptc(iptc or b"")
    return DescriptiveMetadata(
        xmp_fields.title or iptc_fields.title,
        xmp_fields.description or iptc_fields.description,
        xmp_fields.keywords or iptc_fields.keywords,
        xmp_fields.rating,
        xmp_fields.taken,
    )


def caption_of(metadata: DescriptiveMetadata, longest: int) -> str | None:
    """Title, description and keywords as one text; those that would make it too long are left out."""
    caption = ""
    distinct = dict.fromkeys(part for part in (metadata.title, metadata.description) if part)
    for part in (*distinct, ", ".join(metadata.keywords)):
        longer = f"{caption}{' ' if caption.endswith(('.', '!', '?')) else '. '}{part}" if caption else part
        caption = longer if len(longer) <= longest else caption
    return caption or None


def _parse_xmp(data: bytes) -> DescriptiveMetadata:
    root = _parse_xml(data)
    if root is None:
        return DescriptiveMetadata()
    fields = _properties(root)
    return DescriptiveMetadata(
        _first_text(fields.get(f"{_DC}title", ()), "title"),
        _first_text(fields.get(f"{_DC}description", ()), "description"),
        _keywords(fields.get(f"{_DC}subject", ())),
        _rating(fields.get(_RATING, ())),
        next((fields[name][0] for name in _TIMES if fields.get(name)), None),
    )


def _parse_xml(data: bytes) -> ElementTree.Element | None:
    """The parsed document; None if invalid or if it declares entities, which can expand to gigabytes."""
    if not 0 < len(data) <= _MAX_XMP_BYTES:
        return None
    text = data.decode("utf-8", "replace").strip("\0\ufeff \r\n\t")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None


def _properties(root: ElementTree.Element) -> Mapping[str, list[str]]:
    """The values of each property by qualified name; XMP has them as attributes, elements, or lists in elements."""
    found: dict[str, list[str]] = {}
    for description in root.iter(f"{_RDF}Description"):
        for name, text in description.attrib.items():
            found.setdefault(name, []).append(text)
        for element in description:
            found.setdefault(element.tag, []).extend(_texts(element))
    return found


def _texts(element: ElementTree.Element) -> Iterator[str]:
    entries = list(element.iter(f"{_RDF}li"))
    for entry in entries or [element]:
        if entry.text:
            yield entry.text


def _parse_iptc(data: bytes) -> DescriptiveMetadata:
    found: dict[str, list[str]] = {}
    for number, value in _iptc_datasets(data):
        if number in _IPTC:
            found.setdefault(_IPTC[number], []).append(_decode(value))
    return DescriptiveMetadata(
        _first_text(found.get("title", ()), "title"),
        _first_text(found.get("description", ()), "description"),
        _keywords(found.get("keywords", ())),
    )


def _iptc_datasets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The datasets of the application record: a marker, record, number and two bytes of length before each."""
    place = 0
    for _ in range(_MAX_DATASETS):
        head = data[place : place + 5]
        length = int.from_bytes(head[3:5], "big")
        if len(head) < 5 or head[0] != _IPTC_MARKER or length >= 0x8000:
            return
        if head[1] == _IPTC_RECORD:
            yield head[2], data[place + 5 : place + 5 + length]
        place += 5 + length


def _decode(value: bytes) -> str:
    """Decode UTF-8, falling back to Latin 1: the declared encoding is often wrong."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _first_text(texts: Iterable[str], name: str) -> str | None:
    for text in texts:
        normalized = _normalize(text)[: MAX_CHARACTERS[name]]
        if normalized and not _CAMERA_DEFAULT.fullmatch(normalized):
            return normalized
    return None


def _keywords(texts: Iterable[str]) -> tuple[str, ...]:
    normalized = (_normalize(text)[: MAX_CHARACTERS["keyword"]] for text in texts)
    return tuple(dict.fromkeys(text for text in normalized if text))[:MAX_KEYWORDS]


def _rating(texts: Sequence[str]) -> int | None:
    """The rating, which some programs write as a decimal; None if invalid."""
    try:
        rating = round(float(texts[0]))
    except (IndexError, ValueError, OverflowError):
        return None
    return rating if -1 <= rating <= 5 else None


def _normalize(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())


# Words of company names that are not part of the brand.
_COMPANY_WORDS = re.compile(
    r"[\s,]+(corporation|corp|company|co|ltd|limited|inc|ag|gmbh|a/s|imaging|optical|computer|techwin|electronics|"
    r"electric|industries|camera|photo film|technologies|mobile|communications|group)\b\.?",
    re.IGNORECASE,
)
# Spellings of brands that `str.capitalize` gets wrong.
_BRAND_SPELLINGS = {
    name.lower(): name
    for name in ("DJI", "GoPro", "HTC", "LG", "OnePlus", "OM System", "ZTE", "TCL", "RED", "JVC", "HP", "BlackBerry")
}
_BRAND_ALIASES = {
    "om digital solutions": "OM System",
    "lge": "LG",
    "eastman kodak": "Kodak",
    "konica minolta": "Konica Minolta",
    "fuji": "Fujifilm",
    "hmd global": "Nokia",
    "sony ericsson": "Sony Ericsson",
}


def maker_name(value: str) -> str:
    """The usual spelling of a maker's brand: `Nikon` of NIKON CORPORATION, `Olympus` of OLYMPUS IMAGING CORP."""
    brand = _COMPANY_WORDS.sub("", value).strip(" ,.")
    known = _BRAND_ALIASES.get(brand.lower()) or _BRAND_SPELLINGS.get(brand.lower())
    if known or not brand:
        return known or value
    return brand.capitalize() if brand.isupper() or brand.islower() else brand


MAX_TEXT = 200
_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
_EARLIEST_YEAR = 1800  # no photo is older
_LATITUDE, _LONGITUDE = 90, 180
# Tags of a time, its fraction of a second and its UTC offset: of capture, or of digitisation.
_EXIF_TIMES = (
    (Base.DateTimeOriginal, Base.SubsecTimeOriginal, Base.OffsetTimeOriginal),
    (Base.DateTimeDigitized, Base.SubsecTimeDigitized, Base.OffsetTimeDigitized),
)

Tags = Mapping[int, Any]


def read_exif(exif: Image.Exif) -> dict[str, Any]:
    """The present ones of `taken`, `camera`, `lens`, `rating` and `place`. Raises what Pillow raises."""
    photo_tags: Tags = exif.get_ifd(IFD.Exif)
    rating = exif.get(Base.Rating)
    found = {
        "taken": _capture_time(photo_tags),
        "camera": _camera(exif),
        "lens": _clean_text(photo_tags.get(Base.LensModel)),
        "rating": rating if isinstance(rating, int) and 1 <= rating <= 5 else None,
        "place": _position(exif.get_ifd(IFD.GPSInfo)),
    }
    return {name: value for name, value in found.items() if value not in (None, {})}


def _capture_time(tags: Tags) -> str | None:
    """The capture time in ISO 8601, with the UTC offset if present."""
    for time, subsecond, offset in _EXIF_TIMES:
        found = _TIME.match(_clean_text(tags.get(time)) or "")
        if found is None:
            continue
        year, month, day, hour, minute, second = found.groups()
        digits = (_clean_text(tags.get(subsecond)) or "").rstrip("0")[:6]
        fraction = f".{digits.ljust(6, '0')}" if digits.isascii() and digits.isdigit() else ""
        taken = f"{year}-{month}-{day}T{hour}:{minute}:{second}{fraction}{_utc_offset(tags.get(offset))}"
        if int(year) >= _EARLIEST_YEAR and Moment.parse(taken):
            return taken
    return None


def _utc_offset(value: object) -> str:
    text = _clean_text(value) or ""
    if text == "Z":
        return "+00:00"
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return ""
    return f"{found[1]}{found[2]}:{found[3]}"


def _camera(exif: Tags) -> dict[str, str]:
    make, model = _clean_text(exif.get(Base.Make)), _clean_text(exif.get(Base.Model))
    found = {"make": make and maker_name(make), "model": model}
    return {name: value for name, value in found.items() if value}


def _position(tags: Tags) -> dict[str, float]:
    """Latitude and longitude in degrees, altitude in metres; empty without a GPS fix."""
    lat = _degrees(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), "S", _LATITUDE)
    lon = _degrees(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), "W", _LONGITUDE)
    if lat is None or lon is None or lat == lon == 0:
        return {}
    found = {"lat": lat, "lon": lon}
    altitude = _number(tags.get(GPS.GPSAltitude))
    if altitude is not None:
        is_below = tags.get(GPS.GPSAltitudeRef) in (1, b"\1", "1")
        found["altitude"] = round(-altitude if is_below else altitude, 1)
    return found


def _degrees(value: object, side: object, negative: str, most: int) -> float | None:
    """Signed degrees from degrees, minutes and seconds, rounded to about 0.1 m; None if invalid."""
    if not isinstance(value, tuple) or not 1 <= len(value) <= 3:
        return None
    numbers = [_number(part) for part in value]
    if numbers[0] is None:
        return None
    degrees = sum((number or 0.0) / 60**place for place, number in enumerate(numbers))
    is_negative = (_clean_text(side) or "").upper() == negative
    return round(-degrees if is_negative else degrees, 6) if degrees <= most else None


def _number(value: object) -> float | None:
    """A finite number, or None: EXIF fractions may have the denominator 0."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _clean_text(value: object) -> str | None:
    """A text without padding; None if it is empty."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    return _normalize(value.split("\0")[0])[:MAX_TEXT] or None
