"""Metadata in a photo's file: words that people wrote into it, and when, with what and where a camera took it.

Programs write title, description, keywords and rating as XMP, older ones as IPTC; where both have a field, XMP's
counts. Cameras fill fields of EXIF that they know nothing of with spaces, zeros or NULs, which count as not written.
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

LONGEST = {"title": 500, "description": 2_000, "keyword": 100}
MOST_KEYWORDS = 100
_LARGEST_XMP = 1024 * 1024  # longer ones hold pictures or the history of edits

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
_MOST_DATASETS = 2_000

# Cameras write their own name as the description of every photo.
_OF_A_CAMERA = re.compile(r"(\w+ )?digital camera|sony dsc|samsung( camera pictures)?|dcim.*|default|untitled", re.I)


@dataclass(frozen=True)
class Words:
    """The metadata of a photo; `rating` from -1 (rejected) over 0 (none) to 5, `taken` as XMP writes times."""

    title: str | None = None
    description: str | None = None
    keywords: Sequence[str] = ()
    rating: int | None = None
    taken: str | None = None


def read_words(xmp: bytes | None, iptc: bytes | None) -> Words:
    """The words of both; none of what is damaged."""
    newer, older = _of_xmp(xmp or b""), _of_iptc(iptc or b"")
    return Words(
        newer.title or older.title,
        newer.description or older.description,
        newer.keywords or older.keywords,
        newer.rating,
        newer.taken,
    )


def caption_of(words: Words, longest: int) -> str | None:
    """Title, description and keywords as one text; those that would make it too long are left out."""
    caption = ""
    different = dict.fromkeys(part for part in (words.title, words.description) if part)
    for part in (*different, ", ".join(words.keywords)):
        joined = f"{caption}{' ' if caption.endswith(('.', '!', '?')) else '. '}{part}" if caption else part
        caption = joined if len(joined) <= longest else caption
    return caption or None


def _of_xmp(data: bytes) -> Words:
    root = _parsed(data)
    if root is None:
        return Words()
    fields = _fields(root)
    return Words(
        _first(fields.get(f"{_DC}title", ()), "title"),
        _first(fields.get(f"{_DC}description", ()), "description"),
        _keywords(fields.get(f"{_DC}subject", ())),
        _rating(fields.get(_RATING, ())),
        next((fields[name][0] for name in _TIMES if fields.get(name)), None),
    )


def _parsed(data: bytes) -> ElementTree.Element | None:
    """The document, which may have no declarations: with entities a short one can stand for gigabytes."""
    if not 0 < len(data) <= _LARGEST_XMP:
        return None
    text = data.decode("utf-8", "replace").strip("\0\ufeff \r\n\t")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None


def _fields(root: ElementTree.Element) -> Mapping[str, list[str]]:
    """The texts of each property; XMP writes them as attributes, as elements, or as lists in elements."""
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


def _of_iptc(data: bytes) -> Words:
    found: dict[str, list[str]] = {}
    for number, value in _datasets(data):
        if number in _IPTC:
            found.setdefault(_IPTC[number], []).append(_decoded(value))
    return Words(
        _first(found.get("title", ()), "title"),
        _first(found.get("description", ()), "description"),
        _keywords(found.get("keywords", ())),
    )


def _datasets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The datasets of the application record: a marker, record, number and two bytes of length before each."""
    place = 0
    for _ in range(_MOST_DATASETS):
        head = data[place : place + 5]
        length = int.from_bytes(head[3:5], "big")
        if len(head) < 5 or head[0] != _IPTC_MARKER or length >= 0x8000:
            return
        if head[1] == _IPTC_RECORD:
            yield head[2], data[place + 5 : place + 5 + length]
        place += 5 + length


def _decoded(value: bytes) -> str:
    """UTF-8 as newer programs write, else Latin 1; what the file says of its encoding is often wrong."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _first(texts: Iterable[str], name: str) -> str | None:
    for text in texts:
        tidy = _tidy(text)[: LONGEST[name]]
        if tidy and not _OF_A_CAMERA.fullmatch(tidy):
            return tidy
    return None


def _keywords(texts: Iterable[str]) -> tuple[str, ...]:
    tidy = (_tidy(text)[: LONGEST["keyword"]] for text in texts)
    return tuple(dict.fromkeys(text for text in tidy if text))[:MOST_KEYWORDS]


def _rating(texts: Sequence[str]) -> int | None:
    """The number, which some programs write as a fraction."""
    try:
        rating = round(float(texts[0]))
    except (IndexError, ValueError, OverflowError):
        return None
    return rating if -1 <= rating <= 5 else None


def _tidy(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())


# Words of a company that say nothing of the brand.
_COMPANY = re.compile(
    r"[\s,]+(corporation|corp|company|co|ltd|limited|inc|ag|gmbh|a/s|imaging|optical|computer|techwin|electronics|"
    r"electric|industries|camera|photo film|technologies|mobile|communications|group)\b\.?",
    re.IGNORECASE,
)
# Brands that are not written with one capital letter.
_WRITTEN = {
    name.lower(): name
    for name in ("DJI", "GoPro", "HTC", "LG", "OnePlus", "OM System", "ZTE", "TCL", "RED", "JVC", "HP", "BlackBerry")
}
_OTHERWISE = {
    "om digital solutions": "OM System",
    "lge": "LG",
    "eastman kodak": "Kodak",
    "konica minolta": "Konica Minolta",
    "fuji": "Fujifilm",
    "hmd global": "Nokia",
    "sony ericsson": "Sony Ericsson",
}


def maker_name(written: str) -> str:
    """The maker's brand as people write it: `Nikon` of NIKON CORPORATION, `Olympus` of OLYMPUS IMAGING CORP."""
    brand = _COMPANY.sub("", written).strip(" ,.")
    known = _OTHERWISE.get(brand.lower()) or _WRITTEN.get(brand.lower())
    if known or not brand:
        return known or written
    return brand.capitalize() if brand.isupper() or brand.islower() else brand


LONGEST_TEXT = 200
_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
_EARLIEST_YEAR = 1800  # before it nobody took photos
_LATITUDE, _LONGITUDE = 90, 180
# Tags of a time, of its parts of a second and of its offset from UTC: when it was taken, or made digital.
_EXIF_TIMES = (
    (Base.DateTimeOriginal, Base.SubsecTimeOriginal, Base.OffsetTimeOriginal),
    (Base.DateTimeDigitized, Base.SubsecTimeDigitized, Base.OffsetTimeDigitized),
)

Tags = Mapping[int, Any]


def read_exif(exif: Image.Exif) -> dict[str, Any]:
    """Those of `taken`, `camera`, `lens`, `rating` and `place` that are written. Raises what Pillow raises."""
    of_photo: Tags = exif.get_ifd(IFD.Exif)
    rating = exif.get(Base.Rating)
    found = {
        "taken": _taken(of_photo),
        "camera": _camera(exif),
        "lens": _text(of_photo.get(Base.LensModel)),
        "rating": rating if isinstance(rating, int) and 1 <= rating <= 5 else None,
        "place": _place(exif.get_ifd(IFD.GPSInfo)),
    }
    return {name: value for name, value in found.items() if value not in (None, {})}


def _taken(tags: Tags) -> str | None:
    """ISO 8601 with the offset from UTC, if the camera wrote one."""
    for time, part, offset in _EXIF_TIMES:
        found = _TIME.match(_text(tags.get(time)) or "")
        if found is None:
            continue
        year, month, day, hour, minute, second = found.groups()
        digits = (_text(tags.get(part)) or "").rstrip("0")[:6]
        fraction = f".{digits.ljust(6, '0')}" if digits.isascii() and digits.isdigit() else ""
        taken = f"{year}-{month}-{day}T{hour}:{minute}:{second}{fraction}{_offset(tags.get(offset))}"
        if int(year) >= _EARLIEST_YEAR and Moment.parse(taken):
            return taken
    return None


def _offset(written: object) -> str:
    text = _text(written) or ""
    if text == "Z":
        return "+00:00"
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return ""
    return f"{found[1]}{found[2]}:{found[3]}"


def _camera(exif: Tags) -> dict[str, str]:
    make, model = _text(exif.get(Base.Make)), _text(exif.get(Base.Model))
    found = {"make": make and maker_name(make), "model": model}
    return {name: value for name, value in found.items() if value}


def _place(tags: Tags) -> dict[str, float]:
    """Latitude and longitude in degrees, altitude in metres; nothing where there was no fix."""
    lat = _angle(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), "S", _LATITUDE)
    lon = _angle(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), "W", _LONGITUDE)
    if lat is None or lon is None or lat == lon == 0:
        return {}
    found = {"lat": lat, "lon": lon}
    altitude = _number(tags.get(GPS.GPSAltitude))
    if altitude is not None:
        is_below = tags.get(GPS.GPSAltitudeRef) in (1, b"\1", "1")
        found["altitude"] = round(-altitude if is_below else altitude, 1)
    return found


def _angle(written: object, side: object, negative: str, most: int) -> float | None:
    """Degrees of degrees, minutes and seconds, to a tenth of a metre."""
    if not isinstance(written, tuple) or not 1 <= len(written) <= 3:
        return None
    numbers = [_number(part) for part in written]
    if numbers[0] is None:
        return None
    degrees = sum((number or 0.0) / 60**place for place, number in enumerate(numbers))
    is_negative = (_text(side) or "").upper() == negative
    return round(-degrees if is_negative else degrees, 6) if degrees <= most else None


def _number(written: object) -> float | None:
    """A number that is finite; a fraction of a camera may have the denominator 0."""
    try:
        number = float(written)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(written: object) -> str | None:
    """A text without what cameras pad it with; None if nothing is left."""
    if isinstance(written, bytes):
        written = written.decode("utf-8", "replace")
    if not isinstance(written, str):
        return None
    return _tidy(written.split("\0")[0])[:LONGEST_TEXT] or None
