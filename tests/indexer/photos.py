"""Photos as cameras and people write them, made on the spot: EXIF, GPS, XMP, IPTC, HEIC and camera RAW."""

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pillow_heif
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from tests.indexer.pictures import encoded, noise

ROME = (41.8902, 12.4922)
PARIS = (48.8584, 2.2945)


def exif_of_camera(
    taken: str = "2024:05:03 14:12:09",
    offset: str | None = "+02:00",
    place: tuple[float, float] | None = None,
    make: str = "NIKON CORPORATION",
    orientation: int = 1,
    more: Mapping[int, Any] | None = None,
) -> Image.Exif:
    """EXIF as a camera writes it, its texts padded as some do."""
    exif = Image.Exif()
    exif[Base.Make] = make
    exif[Base.Model] = "NIKON D750    "
    exif[Base.Orientation] = orientation
    of_photo = exif.get_ifd(IFD.Exif)
    of_photo[Base.DateTimeOriginal] = taken
    of_photo[Base.LensModel] = "24.0-70.0 mm f/2.8"
    if offset:
        of_photo[Base.OffsetTimeOriginal] = offset
    if place is not None:
        exif.get_ifd(IFD.GPSInfo).update(gps_of(*place))
    exif.update(more or {})
    return exif


def gps_of(lat: float, lon: float) -> dict[int, Any]:
    """Degrees, minutes and seconds, and the halves of the earth they are on."""
    return {
        GPS.GPSLatitudeRef: "N" if lat >= 0 else "S",
        GPS.GPSLatitude: _sexagesimal(lat),
        GPS.GPSLongitudeRef: "E" if lon >= 0 else "W",
        GPS.GPSLongitude: _sexagesimal(lon),
        GPS.GPSAltitudeRef: b"\0",
        GPS.GPSAltitude: 21.5,
    }


def jpeg_photo(seed: int = 1, exif: Image.Exif | None = None, **options: Any) -> bytes:
    return encoded(noise(seed, 48, 32), "JPEG", exif=exif or exif_of_camera(), **options)


def heic_photo(seed: int = 1, exif: Image.Exif | None = None, picture: Image.Image | None = None) -> bytes:
    return heic(picture or noise(seed, 48, 32), exif=(exif or exif_of_camera()).tobytes())


def heic(picture: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(picture).save(stream, quality=90, **options)
    return stream.getvalue()


def xmp(title: str = "", keywords: Sequence[str] = (), rating: int | None = None, extra: str = "") -> bytes:
    """A packet as programs for photos write it."""
    of_title = f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>' if title else ""
    entries = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords)
    of_rating = "" if rating is None else f'xmp:Rating="{rating}"'
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 {of_rating}>{of_title}<dc:subject><rdf:Bag>{entries}</rdf:Bag></dc:subject>{extra}</rdf:Description>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def iptc(title: str, keywords: Sequence[str], encoding: str = "utf-8") -> bytes:
    """The datasets of a caption writer, without the resource around them."""
    fields = [(5, title), *((25, keyword) for keyword in keywords)]
    return b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text.encode(encoding))) + text.encode(encoding)
        for number, text in fields
    )


def with_iptc(jpeg: bytes, datasets: bytes) -> bytes:
    """A JPEG with Photoshop's segment, in which IPTC stands as resource 0x0404."""
    even = datasets + b"\0" * (len(datasets) % 2)
    body = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(datasets)) + even
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def raw(previews: Sequence[bytes], orientation: int = 1, magic: bytes = b"II*\0", make: str = "NIKON") -> bytes:
    """A RAW as most cameras write it: TIFF whose first table describes the camera, whose second is of a sensor, then
    JPEGs and the sensor's numbers.
    """
    maker = make.encode() + b"\0"
    first = 8
    entries = [
        (Base.Make, 2, len(maker), None),
        (Base.Orientation, 3, 1, orientation),
        (Base.SubIFDs, 4, 1, None),
    ]
    second = first + 2 + 12 * len(entries) + 4
    text = second + 2 + 12 * 2 + 4
    places = {Base.Make: text, Base.SubIFDs: second}
    table = b"".join(_entry(tag, kind, count, places.get(tag, value)) for tag, kind, count, value in entries)
    of_sensor = _entry(256, 3, 1, 6000) + _entry(262, 3, 1, 32_803)
    head = magic + struct.pack("<I", first) + struct.pack("<H", len(entries)) + table + bytes(4)
    head += struct.pack("<H", 2) + of_sensor + bytes(4) + maker
    return head + b"".join(b"\0" * 7 + preview for preview in previews) + bytes(range(256)) * 40


def _entry(tag: int, kind: int, count: int, value: Any) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    whole = abs(degrees)
    return (float(int(whole)), float(int(whole * 60 % 60)), round(whole * 3600 % 60, 4))
