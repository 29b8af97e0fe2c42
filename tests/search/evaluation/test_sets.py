"""Shards, photos and emoji as aligned sets."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.contents import entry_of
from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.samples import Caption, DataSample, Origin, Split
from anyseek.model.data.shards import DataSet, Shard, ShardWriter, write_manifest
from anyseek.model.data.sources.emoji import split_of
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.emoji_suite import emoji_sets
from anyseek.search.evaluation.instruments import Instruments
from anyseek.search.evaluation.matrix import recall_matrix
from anyseek.search.evaluation.photo_sets import photo_sets
from anyseek.search.evaluation.shard_sets import shard_sets
from tests.search.evaluation.test_emoji_suite import HEXCODES, small_sources

__all__ = ["small_sources"]


def _picture(number: int) -> np.ndarray:
    picture = np.full((48, 48, 3), 255, np.uint8)
    picture[4 + number : 24 + number, 10 : 20 + number] = (37 * number % 256, 91 * number % 256, 200)
    return picture


def _sample(number: int) -> DataSample:
    captions = (Caption("a template", Origin.TEMPLATE), Caption(f"thing {number}", Origin.HUMAN))
    palettes = (np.full((1, 3), 10 * number, np.uint8), np.full((3, 3), 10 * number, np.uint8))
    values = {
        "rgb": _picture(number),
        "caption": captions,
        "color_palette": palettes,
        "rgb_features": np.zeros((2, 2), np.float16),
    }
    return DataSample(f"k{number}", values, {"label": "even" if number % 2 == 0 else "odd"})


def _shards(folder: Path, splits: dict[Split, range]) -> Path:
    folder.mkdir()
    shards: dict[Split, tuple[Shard, ...]] = {}
    for split, numbers in splits.items():
        writer = ShardWriter(folder / f"{split.value}-000000.tar")
        with writer:
            for number in numbers:
                writer.write(entry_of(f"small/k{number}", _sample(number)))
        name = f"{split.value}-000000.tar"
        shards[split] = (Shard(name, writer.samples, writer.size, writer.sha256),)
    write_manifest(DataSet(folder, "small", "digest", 48, shards, {"rgb": 1}, {}, (), 0))
    return folder


def test_a_split_of_a_data_set(tmp_path: Path) -> None:
    folder = _shards(tmp_path / "data", {Split.TRAIN: range(6, 10), Split.VAL: range(6)})
    tested, training = shard_sets(folder, Split.VAL, None)
    assert tested.name == "small (val)"
    assert tested.keys == tuple(f"small/k{n}" for n in range(6))
    assert tested.labels[1] == {"odd"}
    values = tested.samples[3].values
    assert set(values) == {"rgb", "caption", "color_palette"}
    assert values["caption"] == "thing 3", "a person's caption goes before a template's"
    assert np.asarray(values["color_palette"]).shape == (3, 3)
    assert training is not None
    assert len(training.keys) == 4
    assert shard_sets(folder, Split.TRAIN, None)[1] is None, "what is measured is not what the ridge is fitted on"
    assert len(shard_sets(folder, Split.VAL, 4)[0].keys) == 4


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    folder = _shards(tmp_path / "data", {Split.TRAIN: range(2)})
    with pytest.raises(NotAligned, match=r"no samples in its split test; it has train \(2\)"):
        shard_sets(folder, Split.TEST, None)


def _photos(folder: Path) -> Path:
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"photos-00000{shard}.tar", "w") as archive:
            for number in range(shard * 6, shard * 6 + 6):
                _add(archive, number)
    return folder


def _add(archive: tarfile.TarFile, number: int, damaged: bool = False) -> None:
    labels = ["apple", "faces easy", "not sure", None, "faces", "apple"]
    about = {"split": "train" if 6 <= number < 18 else "test", "label": labels[number % 6]}
    if number == 0:
        about["caption"] = "a round red fruit"
    file = io.BytesIO()
    Image.fromarray(_picture(number % 12)).save(file, "WEBP", lossless=True)
    picture = file.getvalue()[:40] if damaged else file.getvalue()
    for ending, data in (("json", json.dumps(about).encode()), ("webp", picture)):
        member = tarfile.TarInfo(f"{number:06}.{ending}")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def test_photos_by_their_labels_and_by_their_edges(tmp_path: Path) -> None:
    (photos, training), (edged, edged_training) = photo_sets(_photos(tmp_path / "photos"), None)
    assert photos.labels == ({"apple"}, {"faces"}, {"faces"}, {"apple"}), "labels that name no class are left out"
    assert [(queries.name, [s.values["caption"] for s in queries.samples]) for queries in photos.queries] == [
        ("label", ["apple", "faces"]),
        ("description", ["a round red fruit"]),
    ]
    assert photos.queries[0].labels == ({"apple"}, {"faces"})
    assert training is not None
    assert edged_training is not None
    assert not set(training.keys) & set(photos.keys)
    assert len(edged.keys) == 6
    first, again = edged.samples[1].values, edged.samples[1].values
    assert set(first) == {"rgb", "canny_edge", "color_palette"}
    assert np.array_equal(np.asarray(first["canny_edge"]), np.asarray(again["canny_edge"]))


def test_photos_make_matrices(tmp_path: Path) -> None:
    (photos, _), (edged, _) = photo_sets(_photos(tmp_path / "photos"), None)
    instruments = Instruments(HashingEmbedder(), ("hashing",), None)
    by_label = recall_matrix(instruments, photos, None, lambda line: None)
    assert {row.query: row.model.queries for row in by_label.rows} == {"rgb": 4, "label": 2, "description": 1}
    assert all(row.model.mean_average_precision for row in by_label.rows)
    by_edges = recall_matrix(instruments, edged, None, lambda line: None)
    assert ("canny_edge", "rgb") in {(row.query, row.gallery) for row in by_edges.rows}


def test_no_photos_and_broken_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"photos-\*.tar"):
        photo_sets(tmp_path, None)
    (tmp_path / "photos-000000.tar").write_bytes(b"no tar")
    with pytest.raises(SourceUnavailable, match=r"photos-000000\.tar cannot be read"):
        photo_sets(tmp_path, None)


def test_photos_without_a_test_split_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos-000000.tar", "w") as archive:
        _add(archive, 7)
    with pytest.raises(NotAligned, match="no test photos"):
        photo_sets(tmp_path, None)


def test_a_damaged_photo_is_left_out_and_named(tmp_path: Path) -> None:
    folder = _photos(tmp_path / "photos")
    with tarfile.open(folder / "photos-000002.tar", "w") as archive:
        _add(archive, 18, damaged=True)
    (photos, _), _ = photo_sets(folder, None)
    matrix = recall_matrix(Instruments(HashingEmbedder(), ("hashing",), None), photos, None, lambda line: None)
    assert len(matrix.unreadable) == 1
    assert matrix.unreadable[0].startswith("the photo 000018 cannot be used: ")


@pytest.mark.usefixtures("small_sources")
def test_emoji_as_an_aligned_set(tmp_path: Path) -> None:
    tested, training = emoji_sets(tmp_path, None)
    unseen = [code for code in HEXCODES if split_of(code).value == "test"]
    assert sorted(tested.keys) == sorted(unseen)
    assert not set(tested.keys) & set(training.keys)
    assert set(tested.samples[0].values) == {"rgb", "canny_edge", "caption", "color_palette"}
    assert [queries.name for queries in tested.queries] == ["other_vendor_line", "other_vendor_picture"]
    matrix = recall_matrix(Instruments(HashingEmbedder(), ("hashing",), None), tested, training, lambda line: None)
    asked = {row.query: row for row in matrix.rows if row.gallery == "rgb"}
    assert asked["other_vendor_picture"].model.at_1.value == 1.0, "the same picture finds itself"
    assert not asked["other_vendor_picture"].contains_gallery
