"""Folders of aligned modalities as a user has them, in both layouts, and what is wrong with some."""

import json
from collections.abc import Callable
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


def _png(path: Path, value: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 4), (value, value, value) if mode == "RGB" else value).save(path)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "things"
    for number in range(3):
        _png(root / "image" / "sub" / f"{number}.png", 10 * number)
        _png(root / "depth" / "sub" / f"{number}.png", 100 + number, "I;16")
        _text(root / "caption" / "sub" / f"{number}.txt", f"thing {number}\n")
        _text(root / "color_palette" / "sub" / f"{number}.txt", "#ff0000,#00ff00\n")
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
    _png(folder / "semseg" / "sub" / "0.png", 2, "L")
    _text(folder / "semseg" / "classes.json", '{"2": "sofa"}')
    _text(folder / "labels.json", '{"sub/0": "chair", "sub/1": ["chair", "wood"]}')
    aligned = _read(folder)
    assert aligned.labels == (frozenset({"chair"}), frozenset({"chair", "wood"}), frozenset())
    regions = aligned.samples[0].values["semseg"]
    assert isinstance(regions, Regions)
    assert regions.classes == {2: "sofa"}
    assert "semseg" not in aligned.samples[1].values


def test_keys_that_no_other_modality_has_are_counted_and_named(folder: Path) -> None:
    for number in range(13):
        _png(folder / "image" / f"alone{number:02}.png", 1)
    aligned = _read(folder)
    assert len(aligned.keys) == 3
    (note,) = aligned.notes
    assert note.startswith("13 files have a key that no other modality has: image/alone00.png, image/alone01.png")
    assert note.endswith("image/alone09.png and 3 more")


def test_files_that_are_no_such_modality_are_counted(folder: Path) -> None:
    _text(folder / "depth" / "readme.md", "hello")
    _text(folder / "depth" / "sub" / "0.npy", "twice")
    assert _read(folder).notes == (
        "depth/sub/0.png is left out: depth/sub/0.npy has the same key",
        "1 files in depth/ are ignored: depth is kept as .png, .npy, .npz, .tif, .tiff, .exr",
    )


def test_at_most_so_many_evenly_chosen(folder: Path) -> None:
    assert _read(folder, 2).keys == ("sub/0", "sub/1")


def test_pictures_with_sidecars(tmp_path: Path) -> None:
    for number in range(3):
        _png(tmp_path / f"{number}.jpg", 50 * number)
    _png(tmp_path / "maps" / "0.png", 9, "I;16")
    about = {"key": "A", "caption": "a thing", "attributes": {"label": "chair"}, "modalities": {"depth": "maps/0.png"}}
    _text(tmp_path / "0.json", json.dumps(about))
    _text(tmp_path / "1.json", '{"caption": "another"}')
    aligned = _read(tmp_path)
    assert aligned.keys == ("A", "1.jpg")
    assert aligned.labels == (frozenset({"chair"}), frozenset())
    assert set(aligned.samples[0].values) == {"rgb", "depth", "caption"}
    assert aligned.samples[1].values["caption"] == "another"
    assert aligned.notes == ("1 files have a key that no other modality has: 2.jpg",)


def test_photos_with_words_in_their_files_and_albums(tmp_path: Path) -> None:
    """What `anyseek index` takes as captions and keywords is what is asked for, without any file beside the photos."""
    (tmp_path / "1.jpg").write_bytes(with_iptc(jpeg_photo(1), iptc("The harbour", ["Rimini", "boats"])))
    (tmp_path / "2.jpg").write_bytes(with_iptc(jpeg_photo(2), iptc("A dog", ["Rimini"])))
    (tmp_path / "3.jpg").write_bytes(jpeg_photo(3))
    _text(tmp_path / "3.json", json.dumps({"attributes": {"album": "Winter", "keywords": ["snow", 7, " "]}}))
    (tmp_path / "4.jpg").write_bytes(jpeg_photo(4))
    _text(tmp_path / "2.json", json.dumps({"caption": "my dog", "attributes": {"keywords": ["dog"]}}))
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
    (tmp_path / "1.jpg").write_bytes(with_iptc(jpeg_photo(1), iptc("The harbour", ["Rimini"])))
    (tmp_path / "2.jpg").write_bytes(b"no picture")
    _text(tmp_path / "2.json", '{"caption": "words"}')
    aligned = _read(tmp_path)
    assert aligned.keys == ("1.jpg",)
    assert [note for note in aligned.notes if "2.jpg is left out" in note]


def test_a_manifest_goes_before_folders_that_are_called_like_modalities(folder: Path) -> None:
    line = {"file": "image/sub/0.png", "caption": "zero", "modalities": {"depth": "depth/sub/0.png"}}
    _text(folder / "manifest.jsonl", json.dumps(line) + '\n{"file": "gone.png"}\n')
    aligned = _read(folder)
    assert aligned.keys == ("image/sub/0.png",)
    assert any("gone.png" in note for note in aligned.notes)


def _nothing(root: Path) -> None:
    root.mkdir()


def _one_modality(root: Path) -> None:
    _png(root / "rgb" / "a.png", 1)
    _png(root / "rgb" / "b.png", 2)


def _no_common_key(root: Path) -> None:
    _png(root / "rgb" / "a.png", 1)
    _text(root / "caption" / "b.txt", "b")


def _twice(root: Path) -> None:
    _png(root / "rgb" / "a.png", 1)
    _png(root / "image" / "a.png", 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_nothing, "has no files of any modality"),
        (_one_modality, "only one modality, rgb"),
        (_no_common_key, "no key in .* has two modalities: 2 files .* rgb/a.png"),
        (_twice, "image and rgb are the same modality"),
    ],
)
def test_folders_with_nothing_aligned_are_refused(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    make(tmp_path / "folder")
    with pytest.raises(NotAligned, match=says):
        _read(tmp_path / "folder")


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SourceGone, match="gone"):
        _read(tmp_path / "nowhere")


@pytest.mark.parametrize("written", ["[1, 2]", "{", '{"a": 3}'])
def test_labels_that_are_none(folder: Path, written: str) -> None:
    _text(folder / "labels.json", written)
    with pytest.raises(BadDescription, match="label"):
        _read(folder)


def test_files_are_decoded_only_when_they_are_used(folder: Path, tmp_path: Path) -> None:
    (folder / "image" / "sub" / "0.png").write_bytes(b"no picture")
    Image.new("RGB", (8, 6), "red").save(folder / "depth" / "sub" / "1.png")
    (folder / "image" / "sub" / "2.png").unlink()
    _png(tmp_path / "secret.png", 1)
    (folder / "image" / "sub" / "2.png").symlink_to(tmp_path / "secret.png")
    aligned = _read(folder)
    errors: tuple[type[BadInput], ...] = (BadInput, BadMap, OutsideFolder)
    for number, error in enumerate(errors):
        with pytest.raises(error):
            aligned.samples[number]
