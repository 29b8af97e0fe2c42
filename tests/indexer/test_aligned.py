"""Folders of aligned modalities as a user has them, in both layouts, and what is wrong with some."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.indexer.aligned import read_aligned
from anyseek.indexer.errors import BadDescription, OutsideFolder, SourceGone
from anyseek.model.data.aligned import AlignedSet
from anyseek.model.modalities.reading.errors import BadMap
from anyseek.model.seam import Regions
from anyseek.search.errors import BadInput, NotAligned
from anyseek.search.settings import Settings
from tests.indexer.photos import iptc, jpeg_photo, with_iptc
from tests.indexer.pictures import encoded, write


def _plain(value: int, mode: str = "RGB") -> bytes:
    return encoded(Image.new(mode, (6, 4), (value, value, value) if mode == "RGB" else value), "PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "things"
    for number in range(3):
        files = {
            f"image/sub/{number}.png": _plain(10 * number),
            f"depth/sub/{number}.png": _plain(100 + number, "I;16"),
            f"caption/sub/{number}.txt": f"thing {number}\n",
            f"color_palette/sub/{number}.txt": "#ff0000,#00ff00\n",
        }
        write(root, files)
    return root


def _read(folder: Path, most: int | None = None) -> AlignedSet:
    return read_aligned(folder, Settings(folder.parent), most)


def test_a_folder_for_each_modality(folder: Path) -> None:
    aligned = _read(folder)
    assert aligned.name == "things"
    assert aligned.keys == ("sub/0", "sub/1", "sub/2")
    assert aligned.labels == aligned.notes == ()
    values = aligned.samples[1].values
    assert set(values) == {"rgb", "depth", "caption", "color_palette"}
    assert values["caption"] == "thing 1"
    assert np.asarray(values["rgb"]).shape == (4, 6, 3)
    assert np.asarray(values["depth"])[0, 0] == 101
    assert np.asarray(values["color_palette"]).tolist() == [[255, 0, 0], [0, 255, 0]]


def test_labels_and_names_of_regions(folder: Path) -> None:
    regions = {"semseg/sub/0.png": _plain(2, "L"), "semseg/classes.json": {"2": "sofa"}}
    write(folder, {**regions, "labels.json": {"sub/0": "chair", "sub/1": ["chair", "wood"]}})
    aligned = _read(folder)
    assert aligned.labels == (frozenset({"chair"}), frozenset({"chair", "wood"}), frozenset())
    regions = aligned.samples[0].values["semseg"]
    assert isinstance(regions, Regions)
    assert regions.classes == {2: "sofa"}
    assert "semseg" not in aligned.samples[1].values


def test_keys_that_no_other_modality_has_are_counted_and_named(folder: Path) -> None:
    write(folder, {f"image/alone{number:02}.png": _plain(1) for number in range(13)})
    aligned = _read(folder)
    assert len(aligned.keys) == 3
    (note,) = aligned.notes
    assert note.startswith("13 files have a key that no other modality has: image/alone00.png, image/alone01.png")
    assert note.endswith("image/alone09.png and 3 more")


def test_files_that_are_no_such_modality_are_counted(folder: Path) -> None:
    write(folder, {"depth/readme.md": "hello", "depth/sub/0.npy": "twice"})
    assert _read(folder).notes == (
        "depth/sub/0.png is left out: depth/sub/0.npy has the same key",
        "1 files in depth/ are ignored: depth is kept as .png, .npy, .npz, .tif, .tiff, .exr",
    )


def test_at_most_so_many_evenly_chosen(folder: Path) -> None:
    assert _read(folder, 2).keys == ("sub/0", "sub/1")


def test_pictures_with_sidecars(tmp_path: Path) -> None:
    about = {"key": "A", "caption": "a thing", "attributes": {"label": "chair"}, "modalities": {"depth": "maps/0.png"}}
    write(tmp_path, {"0.jpg": _plain(0), "1.jpg": _plain(50), "2.jpg": _plain(100), "maps/0.png": _plain(9, "I;16")})
    write(tmp_path, {"0.json": about, "1.json": {"caption": "another"}})
    aligned = _read(tmp_path)
    assert aligned.keys == ("A", "1.jpg")
    assert aligned.labels == (frozenset({"chair"}), frozenset())
    assert set(aligned.samples[0].values) == {"rgb", "depth", "caption"}
    assert aligned.samples[1].values["caption"] == "another"
    assert aligned.notes == ("1 files have a key that no other modality has: 2.jpg",)


def test_photos_with_words_in_their_files_and_albums(tmp_path: Path) -> None:
    """What `anyseek index` takes as captions and keywords is what is asked for, without any file beside the photos."""
    files = {
        "1.jpg": with_iptc(jpeg_photo(1), iptc("The harbour", ["Rimini", "boats"])),
        "2.jpg": with_iptc(jpeg_photo(2), iptc("A dog", ["Rimini"])),
        "2.json": {"caption": "my dog", "attributes": {"keywords": ["dog"]}},
        "3.jpg": jpeg_photo(3),
        "3.json": {"attributes": {"album": "Winter", "keywords": ["snow", 7, " "]}},
        "4.jpg": jpeg_photo(4),
    }
    write(tmp_path, files)
    aligned = _read(tmp_path)
    assert aligned.keys == ("1.jpg", "2.jpg", "3.jpg")
    assert aligned.notes == ("1 files have a key that no other modality has: 4.jpg",)
    assert aligned.labels == (frozenset({"Rimini", "boats"}), frozenset({"dog"}), frozenset({"Winter", "snow"}))
    assert aligned.samples[0].values["caption"] == "The harbour. Rimini, boats"
    assert aligned.samples[1].values["caption"] == "my dog"
    (named,) = aligned.queries
    assert (named.name, named.modality, set(named.own)) == ("label", "caption", {None})
    asked = [named.samples[number].values["caption"] for number in range(len(named.samples))]
    assert asked == ["Rimini", "Winter", "boats", "dog", "snow"]
    assert named.labels[0] == {"Rimini"}


def test_a_photo_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    good = with_iptc(jpeg_photo(1), iptc("The harbour", ["Rimini"]))
    write(tmp_path, {"1.jpg": good, "2.jpg": "no picture", "2.json": {"caption": "words"}})
    aligned = _read(tmp_path)
    assert aligned.keys == ("1.jpg",)
    assert [note for note in aligned.notes if "2.jpg is left out" in note]


def test_a_manifest_goes_before_folders_that_are_called_like_modalities(folder: Path) -> None:
    line = {"file": "image/sub/0.png", "caption": "zero", "modalities": {"depth": "depth/sub/0.png"}}
    write(folder, {"manifest.jsonl": json.dumps(line) + '\n{"file": "gone.png"}\n'})
    aligned = _read(folder)
    assert aligned.keys == ("image/sub/0.png",)
    assert any("gone.png" in note for note in aligned.notes)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ((), "has no files of any modality"),
        (("rgb/a.png", "rgb/b.png"), "only one modality, rgb"),
        (("rgb/a.png", "caption/b.txt"), "no key in .* has two modalities: 2 files .* rgb/a.png"),
        (("rgb/a.png", "image/a.png"), "image and rgb are the same modality"),
    ],
)
def test_folders_with_nothing_aligned_are_refused(tmp_path: Path, files: Sequence[str], says: str) -> None:
    write(tmp_path / "folder", dict.fromkeys(files, _plain(1)))
    with pytest.raises(NotAligned, match=says):
        _read(tmp_path / "folder")


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SourceGone, match="gone"):
        _read(tmp_path / "nowhere")


@pytest.mark.parametrize("written", ["[1, 2]", "{", '{"a": 3}'])
def test_labels_that_are_none(folder: Path, written: str) -> None:
    write(folder, {"labels.json": written})
    with pytest.raises(BadDescription, match="label"):
        _read(folder)


def test_files_are_decoded_only_when_they_are_used(folder: Path, tmp_path: Path) -> None:
    of_two_sizes = encoded(Image.new("RGB", (8, 6), "red"), "PNG")
    write(folder, {"image/sub/0.png": "no picture", "depth/sub/1.png": of_two_sizes})
    (folder / "image/sub/2.png").unlink()
    write(tmp_path, {"secret.png": _plain(1)})
    (folder / "image/sub/2.png").symlink_to(tmp_path / "secret.png")
    aligned = _read(folder)
    errors: tuple[type[BadInput], ...] = (BadInput, BadMap, OutsideFolder)
    for number, error in enumerate(errors):
        with pytest.raises(error):
            aligned.samples[number]
