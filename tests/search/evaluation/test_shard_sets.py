"""Shards as aligned sets."""

from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.contents import entry_of
from anyseek.model.data.samples import Caption, DataSample, Origin, Split
from anyseek.model.data.shards import DataSet, Shard, ShardWriter, write_manifest
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.shard_sets import shard_set


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
    tested = shard_set(folder, Split.VAL, None)
    assert tested.name == "small (val)"
    assert tested.keys == tuple(f"small/k{n}" for n in range(6))
    assert tested.labels[1] == {"odd"}
    values = tested.samples[3].values
    assert set(values) == {"rgb", "caption", "color_palette"}
    assert values["caption"] == "thing 3", "a person's caption goes before a template's"
    assert np.asarray(values["color_palette"]).shape == (3, 3)
    assert len(shard_set(folder, Split.VAL, 4).keys) == 4


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    folder = _shards(tmp_path / "data", {Split.TRAIN: range(2)})
    with pytest.raises(NotAligned, match=r"no samples in its split test; it has train \(2\)"):
        shard_set(folder, Split.TEST, None)
