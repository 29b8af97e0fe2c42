"""What a camera wrote into EXIF: when, with what and where a photo was taken.

Cameras fill fields that they know nothing of with spaces, zeros or NULs. Such values count as not written.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from anyseek.search.filters.tree import Moment

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
_TIMES = (
    (Base.DateTimeOriginal, Base.SubsecTimeOriginal, Base.OffsetTimeOriginal),
    (Base.DateTimeDigitized, Base.SubsecTimeDigitized, Base.OffsetTimeDigitized),
)

Tags = Mapping[int, Any]


def read_exif(exif: Image.Exif) -> dict[str, Any]:
    """Those of `taken`, `camera`, `lens`, `rating` and `place` that are written. Raises what Pillow raises."""
    of_photo: Tags = exif.get_ifd(IFD.Exif)
    found = {
        "taken": _taken(of_photo),
        "camera": _camera(exif),
        "lens": _text(of_photo.get(Base.LensModel)),
        "rating": _rating(exif.get(Base.Rating)),
        "place": _place(exif.get_ifd(IFD.GPSInfo)),
    }
    return {name: value for name, value in found.items() if value not in (None, {})}


def _taken(tags: Tags) -> str | None:
    """ISO 8601 with the offset from UTC, if the camera wrote one."""
    for time, part, offset in _TIMES:
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


def _rating(written: object) -> int | None:
    return written if isinstance(written, int) and 1 <= written <= 5 else None


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
    text = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", written.split("\0")[0]).split())
    return text[:LONGEST_TEXT] or None
