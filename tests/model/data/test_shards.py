"""Shards: what is written is read, the same bytes each time; a broken one is refused by its name."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyseek.model.data.errors import DataSetInvalid, SampleInvalid, ShardCorrupt
from anyseek.model.data.samples import Split, shard_key
from anyseek.model.data.shards import (
    DataSet,
    Entry,
    Shard,
    ShardWriter,
    SourceRecord,
    open_dataset,
    read_shard,
    write_manifest,
)
from anyseek.model.files import file_digest

KEYS = st.from_regex(r"[A-Za-z0-9_+%-]{1,120}(/[A-Za-z0-9_+%-]{1,20}){0,3}", fullmatch=True)
FILES = st.dictionaries(
    st.sampled_from(["rgb.jpg", "depth.png", "caption.json", "x_features.npy"]), st.binary(max_size=1500), min_size=1
)
ENTRIES = st.lists(st.builds(Entry, KEYS, FILES), unique_by=lambda entry: entry.key, max_size=6)
IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def write(path: Path, entries: list[Entry]) -> ShardWriter:
    with ShardWriter(path) as writer:
        for entry in entries:
            writer.write(entry)
    return writer


def three() -> list[Entry]:
    return [Entry(f"s/{n}", {"rgb.jpg": bytes(range(n, n + 200)), "caption.json": b"[]"}) for n in range(3)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(ENTRIES)
def test_what_is_written_is_read_and_the_bytes_are_the_same_each_time(tmp_path, entries):
    first, second = write(tmp_path / "a.tar", entries), write(tmp_path / "b.tar", entries)
    assert list(read_shard(tmp_path / "a.tar", first.sha256)) == entries
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert (first.samples, first.size) == (len(entries), (tmp_path / "a.tar").stat().st_size)
    assert second.sha256 == file_digest(tmp_path / "a.tar")


@IN_ONE_FOLDER
@given(st.integers(0, 8192))
def test_a_shard_cut_off_anywhere_before_its_end_is_refused_by_name(tmp_path, length):
    path = tmp_path / "train-000000.tar"
    write(path, three())
    data = path.read_bytes()
    whole = max(n for n in range(0, len(data), 512) if any(data[n : n + 512])) + 512 + 1024
    path.write_bytes(data[: min(length, whole - 1)])
    with pytest.raises(ShardCorrupt, match=r"train-000000\.tar"):
        list(read_shard(path))


@IN_ONE_FOLDER
@given(st.integers(0, 10239), st.integers(1, 255))
def test_a_shard_with_any_byte_changed_is_refused_by_name_before_its_first_sample(tmp_path, place, change):
    path = tmp_path / "train-000000.tar"
    sha256 = write(path, three()).sha256
    data = bytearray(path.read_bytes())
    data[place] ^= change
    path.write_bytes(data)
    with pytest.raises(ShardCorrupt, match=r"train-000000\.tar has sha256"):
        next(read_shard(path, sha256))


def test_a_missing_shard_and_a_file_that_is_none_are_refused(tmp_path):
    with pytest.raises(ShardCorrupt, match="is missing"):
        list(read_shard(tmp_path / "a.tar"))
    (tmp_path / "a.tar").write_bytes(b"words" * 300)
    with pytest.raises(ShardCorrupt, match=r"a\.tar is not a complete shard"):
        list(read_shard(tmp_path / "a.tar"))


def test_a_link_in_a_shard_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("s/1.rgb.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ShardCorrupt, match="not a plain file"):
        list(read_shard(tmp_path / "a.tar"))


@pytest.mark.parametrize("names", [["a.x.npy", "b.x.npy", "a.y.npy"], ["a.x.npy", "a.x.npy"], ["a.x.npy", "b"]])
def test_a_key_that_comes_back_a_file_twice_and_a_nameless_one_are_refused(tmp_path, names):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ShardCorrupt, match=r"a\.tar"):
        list(read_shard(tmp_path / "a.tar"))


def test_an_error_while_writing_leaves_nothing_and_the_shard_before_as_it_was(tmp_path):
    path = tmp_path / "a.tar"
    sha256 = write(path, three()).sha256
    with pytest.raises(SampleInvalid, match="two samples"):
        write(path, [Entry("other", {"rgb.png": b"1"}), three()[0], three()[0]])
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]
    assert file_digest(path) == sha256


def test_keys_and_files_that_no_shard_could_hold_are_refused():
    for key in ("", "a.b", "../a", "/a", "a//b", "a/", "ä", "a b"):
        with pytest.raises(SampleInvalid, match="is not a key; a key has"):
            Entry(key, {})
    for names in (["rgb"], ["RGB.png"], ["rgb.png.gz"], ["rgb.png", "rgb.jpg"]):
        with pytest.raises(SampleInvalid):
            Entry("a", dict.fromkeys(names, b""))


@given(st.text(), st.text())
def test_shard_keys_are_keys_and_differ_when_keys_differ(first, second):
    keys = [shard_key("photos", text) for text in (first, second)]
    assert Entry(keys[0], {}).key.startswith("photos/")
    assert (keys[0] == keys[1]) == (first.encode(errors="replace") == second.encode(errors="replace"))


def a_dataset(folder: Path) -> DataSet:
    writer = write(folder / "train-000000.tar", three())
    shard = Shard("train-000000.tar", writer.samples, writer.size, writer.sha256)
    source = SourceRecord("photos", "folder", "CC0", "3 files", 1.0, {"train": 3})
    splits = {Split.TRAIN: (shard,), Split.TEST: ()}
    return DataSet(folder, "tiny", "abc", 64, splits, {"rgb": 3}, {"semseg": {0: "floor", 7: "lamp"}}, (source,), 1)


def test_a_data_set_is_opened_as_it_was_written(tmp_path):
    made = a_dataset(tmp_path)
    write_manifest(made)
    opened = open_dataset(tmp_path)
    assert opened == made
    assert list(opened.entries(Split.TRAIN)) == three()
    assert [opened.samples(split) for split in Split] == [3, 0, 0]


def test_a_folder_without_a_whole_manifest_is_refused(tmp_path):
    with pytest.raises(DataSetInvalid, match="no finished data set"):
        open_dataset(tmp_path)
    for text, said in (("{", "not the manifest"), ("[]", "not the manifest"), ('{"format": 99}', "format 99")):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(DataSetInvalid, match=said):
            open_dataset(tmp_path)
    write_manifest(a_dataset(tmp_path))
    written = json.loads((tmp_path / "dataset.json").read_text())
    for name in written.keys() - {"format"}:
        (tmp_path / "dataset.json").write_text(json.dumps({k: v for k, v in written.items() if k != name}))
        with pytest.raises(DataSetInvalid, match=name):
            open_dataset(tmp_path)
