import json
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.galleries import make_rooms
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.rooms.catalogue import FURNITURE
from anyseek.model.rooms.source import Options, RoomsSource
from anyseek.model.seam import Regions
from anyseek.search.settings import Limits

GALLERY = Path(make_rooms.__file__).with_name("rooms")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two views, made anew."""
    pytest.importorskip("embreex", reason="embreex is not installed (extra `data`)")
    if not (FURNITURE / "Scopia.sh3f").exists():
        pytest.skip("Debian's package sweethome3d-furniture is not installed")
    out = tmp_path_factory.mktemp("galleries") / "rooms"
    make_rooms.make_gallery(out, RoomsSource("rooms", Options(), 64), views=2)
    return out


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text("utf-8").splitlines()]


def test_files_hold_what_the_source_gives(gallery: Path) -> None:
    first = json.loads((gallery / "manifest.jsonl").read_text("utf-8").splitlines()[0])
    values = RoomsSource("rooms", Options(), 64).sample(first["key"]).values
    limits = Limits()
    files = first["modalities"]
    depth = decode_file("depth", gallery / files["depth"], limits)
    np.testing.assert_allclose(depth, values["depth"] * 100, atol=0.51)
    normal = decode_file("normal", gallery / files["normal"], limits)
    assert isinstance(normal, np.ndarray)
    assert np.abs(normal.astype(int) - values["normal"]).max() <= 3
    classes = {int(number): name for number, name in files["semseg"]["classes"].items()}
    semseg = decode_file("semseg", gallery / files["semseg"]["file"], limits, classes)
    assert isinstance(semseg, Regions)
    assert (semseg.ids == values["semseg"].ids).all()
    picture = decode_file("rgb", gallery / first["file"], limits)
    assert isinstance(picture, np.ndarray)
    assert np.abs(picture.astype(int) - values["rgb"]).mean() < 6


def test_every_object_in_view_is_credited(gallery: Path) -> None:
    text = (gallery / "CREDITS.txt").read_text("utf-8")
    for line in (gallery / "manifest.jsonl").read_text("utf-8").splitlines():
        for thing in json.loads(line)["attributes"]["things"]:
            assert f"({thing['object']}) by " in text


def test_making_it_again_takes_the_place_of_the_old_one(gallery: Path) -> None:
    before = {path.relative_to(gallery): path.read_bytes() for path in gallery.rglob("*.*")}
    (gallery / "rgb" / "stale.jpg").write_bytes(b"old")
    make_rooms.make_gallery(gallery, RoomsSource("rooms", Options(), 64), views=2)
    assert {path.relative_to(gallery): path.read_bytes() for path in gallery.rglob("*.*")} == before


def test_the_gallery_that_ships_is_whole_and_small() -> None:
    lines = lines_of(GALLERY)
    assert len(lines) == make_rooms.VIEWS
    assert all(str(line["key"]).startswith("test-") for line in lines)
    named = {str(line["file"]) for line in lines}
    for line in lines:
        modalities = line["modalities"]
        assert isinstance(modalities, dict)
        named |= {value if isinstance(value, str) else value["file"] for value in modalities.values()}
    files = {str(path.relative_to(GALLERY)): path.stat().st_size for path in GALLERY.rglob("*") if path.is_file()}
    assert files.keys() == named | {"manifest.jsonl", "CREDITS.txt"}
    assert sum(files.values()) <= 6 * 2**20
