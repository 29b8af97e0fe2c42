"""Shards as a source: Anyseek's own, and others in the WebDataset convention."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.build import build
from anyseek.model.data.contents import entry_of, sample_of
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Caption, DataSample, Origin, Shares, Split
from anyseek.model.data.shards import Entry, ShardWriter
from anyseek.model.data.sources.shards import ShardsOptions, ShardsSource
from anyseek.model.seam import Regions


def png(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 5), (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def open_shards(pattern: Path, split: Split | None = Split.TRAIN) -> ShardsSource:
    return ShardsSource("tars", ShardsOptions(path=pattern, licence="CC0", split=split), Shares())


def test_anyseeks_own_shards_come_back_as_they_were(tmp_path):
    sample = DataSample(
        "42",
        {"semseg": Regions(np.ones((3, 4), np.int32), {1: "sky"}), "caption": (Caption("x", Origin.TEMPLATE),)},
        {"label": "sky"},
    )
    with ShardWriter(tmp_path / "train-000000.tar") as writer:
        writer.write(entry_of("rooms/42", sample))
    found = open_shards(tmp_path / "train-*.tar").sample("rooms/42")
    assert found.values["caption"] == sample.values["caption"]
    assert found.values["semseg"].classes == {1: "sky"}
    assert found.attributes == {"medium": "photo", "label": "sky"}


def test_endings_of_other_shards_say_what_a_file_is(tmp_path):
    write_tar(tmp_path / "a.tar", {"000.png": png(9), "000.txt": b" red ", "000.json": b'{"label": "cup"}'})
    write_tar(tmp_path / "b.tar", {"d/001.png": png(7)})
    source = open_shards(tmp_path / "?.tar")
    assert list(source.keys(Split.TRAIN)) == ["000", "d/001"]
    assert list(source.keys(Split.TEST)) == []
    sample = source.sample("000")
    assert sample.values["rgb"][0, 0].tolist() == [9, 0, 0]
    assert sample.values["caption"] == (Caption("red", Origin.HUMAN),)
    assert sample.attributes == {"medium": "photo", "label": "cup", "original_width": 9, "original_height": 5}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"1.cls": b"3"}, "is not a known ending"),
        ({"1.jpg": b"words"}, "is not a picture"),
        ({"1.txt": b"\xff"}, "not UTF-8"),
        ({"1.json": b"{"}, "not JSON"),
        ({"1.json": b"[]"}, "not a JSON object"),
        ({"1.depth.png": b"x"}, "depth.png cannot be read"),
        ({"1.thermal.png": b"x"}, "'thermal' is no modality: declare it"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, files, said):
    write_tar(tmp_path / "a.tar", files)
    with pytest.raises(SampleInvalid, match=said):
        open_shards(tmp_path / "a.tar").sample("1")


def test_shards_that_are_not_there_or_broken_are_refused(tmp_path):
    with pytest.raises(SourceUnavailable, match="no file matches"):
        open_shards(tmp_path / "*.tar")
    (tmp_path / "a.tar").write_bytes(b"words" * 200)
    with pytest.raises(SourceUnavailable, match=r"a\.tar cannot be read"):
        open_shards(tmp_path / "a.tar")


def test_a_shard_that_is_cut_off_later_fails_its_samples(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.jpg": png(3) * 200})
    source = open_shards(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:2000])
    with pytest.raises(SampleInvalid, match="cut off"):
        source.sample("1")


def test_a_built_data_set_can_be_the_source_of_another(tmp_path, make_recipe, progress):
    first = build(make_recipe(), tmp_path / "first", tmp_path, 1, progress)
    sources = [
        {"kind": "shards", "name": split.value, "path": str(tmp_path / "first" / f"{split}-*.tar"), "licence": "CC0"}
        | {"split": split.value}
        for split in Split
    ]
    second = build(make_recipe(sources=sources, labellers=[]), tmp_path / "second", tmp_path, 1, progress)
    for split in Split:
        assert second.samples(split) == first.samples(split)
        values = [{e.files["canny_edge.png"] for e in made.entries(split)} for made in (first, second)]
        assert values[0] == values[1]
        assert all(sample_of(entry).values for entry in second.entries(split))


def test_an_entry_needs_no_attributes():
    assert sample_of(Entry("a/b", {})) == DataSample("a/b", {})
