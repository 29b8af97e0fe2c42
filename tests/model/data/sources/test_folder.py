"""A user's own folder: aligned by sub-folders, or plain with sidecars."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Caption, Origin, Shares, Split
from anyseek.model.data.sources.folder import FolderOptions, FolderSource


def open_folder(path: Path, shares: Shares | None = None) -> FolderSource:
    return FolderSource("mine", FolderOptions(path=path, licence="CC0"), shares or Shares(val=0.0, test=0.0))


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 6), colour: object = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    """Two samples with all modalities a folder can have, and one with a picture alone."""
    root = tmp_path / "aligned"
    for key in ("a", "sub/b.v1"):
        picture(root / "rgb" / f"{key}.jpg", colour=(200, 10, 10))
        picture(root / "depth" / f"{key}.png", "I;16", colour=1200)
        picture(root / "semseg" / f"{key}.png", "L", colour=2)
        picture(root / "canny_edge" / f"{key}.png", "L", colour=255)
        for folder in ("caption", "clip"):
            (root / folder / key).parent.mkdir(parents=True, exist_ok=True)
        (root / "caption" / f"{key}.txt").write_text("a red thing\n\n  something   red \n")
        np.save(root / "clip" / f"{key}.npy", np.ones(3, np.float32))
    (root / "semseg" / "classes.json").write_text('{"2": "sofa"}')
    picture(root / "rgb" / "c.png")
    (root / "rgb" / "Thumbs.db").write_bytes(b"x")
    return root


def test_files_called_alike_are_one_sample(aligned):
    source = open_folder(aligned)
    assert list(source.keys(Split.TRAIN)) == ["a", "c", "sub/b.v1"]
    values = source.sample("sub/b.v1").values
    assert set(values) == {"rgb", "depth", "semseg", "canny_edge", "caption", "clip"}
    assert (values["depth"] == 1200).all()
    assert ((values["semseg"].ids == 2).all(), values["semseg"].classes) == (True, {2: "sofa"})
    assert values["caption"] == (Caption("a red thing", Origin.HUMAN), Caption("something red", Origin.HUMAN))
    assert source.sample("c").values.keys() == {"rgb"}
    assert source.sample("c").attributes == {"medium": "photo", "original_width": 8, "original_height": 6}


def test_folders_and_sidecars_may_use_aliases_as_they_may_where_pictures_are_indexed(tmp_path):
    picture(tmp_path / "aligned" / "image" / "a.png")
    picture(tmp_path / "aligned" / "sketch" / "a.png", "L", colour=255)
    assert open_folder(tmp_path / "aligned").sample("a").values.keys() == {"rgb", "canny_edge"}
    picture(tmp_path / "plain" / "a.jpg")
    picture(tmp_path / "plain" / "a.sketch.png", "L", colour=255)
    (tmp_path / "plain" / "a.json").write_text('{"modalities": {"sketch": "a.sketch.png"}}')
    assert open_folder(tmp_path / "plain").sample("a.jpg").values.keys() == {"rgb", "canny_edge"}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("rgb/a.png", r"a\.jpg and .*a\.png are both rgb of a"),
        ("Depth/a.png", r"aligned/Depth: 'Depth' is no modality: declare it"),
    ],
)
def test_two_files_of_a_modality_and_folders_of_none_are_refused(aligned, file, said):
    picture(aligned / file)
    with pytest.raises(SourceUnavailable, match=said):
        open_folder(aligned)


def test_a_file_that_is_added_or_changes_its_size_changes_the_origin(aligned):
    before = open_folder(aligned).origin
    assert open_folder(aligned).origin == before
    (aligned / "caption" / "a.txt").write_text("other words")
    assert open_folder(aligned).origin != before


@pytest.mark.parametrize(
    ("file", "write", "said"),
    [
        ("depth/a.png", lambda path: picture(path, "RGB", colour=(200, 0, 0)), "one number per pixel"),
        ("depth/a.png", lambda path: picture(path, "I;16", colour=0), "no measured pixel"),
        ("rgb/a.jpg", lambda path: path.write_bytes(b"words"), "is not a picture"),
        ("semseg/a.png", lambda path: path.write_bytes(b""), "is empty; it must be a picture file"),
        ("semseg/classes.json", lambda path: path.write_text("[]"), "must name ids, such"),
        ("caption/a.txt", lambda path: path.write_bytes(b"\xff\xfe"), "is not UTF-8 text"),
        ("caption/a.txt", lambda path: path.write_text(" \n"), "is empty; a text needs at least one character"),
        ("clip/a.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "clip"),
    ],
)
def test_a_broken_file_is_refused_by_its_name(aligned, file, write, said):
    source = open_folder(aligned)
    write(aligned / file)
    with pytest.raises(SampleInvalid, match=said) as found:
        source.sample("a")
    assert Path(file).name in str(found.value)


def test_folders_of_splits_are_the_splits(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "a"), ("test", "c")):
        picture(tmp_path / split / f"{name}.png")
    source = open_folder(tmp_path, Shares(val=0.5, test=0.5))
    keys = [["train/a.png", "train/b.png"], ["val/a.png"], ["test/c.png"]]
    assert [list(source.keys(split)) for split in Split] == keys


def test_other_folders_are_split_by_shares_each_key_in_one(tmp_path):
    for number in range(40):
        picture(tmp_path / f"{number}.png")
    picture(tmp_path / "test" / "x.png")
    picture(tmp_path / "holiday" / "x.png")
    source = open_folder(tmp_path, Shares(val=0.3, test=0.3))
    keys = [list(source.keys(split)) for split in Split]
    assert all(len(part) > 3 for part in keys)
    assert len({key for part in keys for key in part}) == sum(map(len, keys)) == 42


def test_a_sidecar_gives_caption_attributes_and_further_files(tmp_path):
    picture(tmp_path / "x.jpg")
    picture(tmp_path / "x.depth.png", "I;16", colour=7)
    about = {"caption": ["one", "two"], "attributes": {"label": "cup"}, "modalities": {"depth": "x.depth.png"}}
    (tmp_path / "x.json").write_text(json.dumps(about))
    source = open_folder(tmp_path)
    assert list(source.keys(Split.TRAIN)) == ["x.jpg"]
    sample = source.sample("x.jpg")
    assert [caption.text for caption in sample.values["caption"]] == ["one", "two"]
    assert (sample.values["depth"] == 7).all()
    assert sample.attributes["label"] == "cup"


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"attributes": 3}', "are not a JSON object"),
        ('{"caption": 3}', "a text or a list of texts"),
        ('{"modalities": {"depth": "../../etc/x.png"}}', "a file"),
        ('{"modalities": {"depth": "gone.png"}}', "does not exist"),
        ('{"modalities": {"thermal": "x.png"}}', "'thermal' is no modality: declare it"),
        ('{"modalities": {"depth": "x.jpg"}}', "of that kind"),
        ('{"modalities": ["x"]}', "by modality"),
    ],
)
def test_a_sidecar_that_cannot_be_followed_is_refused(tmp_path, about, said):
    root = tmp_path / "in" / "here"
    picture(root / "x.jpg")
    (root / "x.json").write_text(about)
    with pytest.raises(SampleInvalid, match=said):
        open_folder(root).sample("x.jpg")


def test_a_folder_that_is_none_or_empty_is_refused(tmp_path):
    with pytest.raises(SourceUnavailable, match="no pictures"):
        open_folder(tmp_path)
    with pytest.raises(SourceUnavailable, match="not a folder"):
        open_folder(tmp_path / "gone")
