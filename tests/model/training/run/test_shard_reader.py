from pathlib import Path

import pytest

from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.data.shards import read_shard
from anyseek.model.training.run.data_sets import ShardReader


def test_single_samples_are_what_the_whole_shard_has(data: Path) -> None:
    reader = ShardReader(kept=1)
    for path in sorted(data.glob("train-*.tar")):
        for number, entry in enumerate(read_shard(path)):
            assert reader.read(path, number) == entry
            assert reader.key(path, number) == entry.key
            assert reader.fields(path, number) == {name.partition(".")[0] for name in entry.files}
            assert set(reader.read(path, number, {"rgb", "caption", "none"}).files) == {"rgb.png", "caption.json"}
    reader.close()


def test_only_so_many_shards_stay_open(data: Path) -> None:
    reader = ShardReader(kept=2)
    paths = sorted(data.glob("*.tar"))
    for path in (*paths, *paths):
        reader.read(path, 0)
        assert len(reader._shards) <= 2
    reader.close()
    assert not reader._shards


def test_a_shard_that_is_gone_or_cut_off_is_named(data: Path, tmp_path: Path) -> None:
    reader = ShardReader(kept=2)
    with pytest.raises(ShardCorrupt, match=r"none\.tar cannot be read"):
        reader.read(tmp_path / "none.tar", 0)
    whole = (data / "train-000000.tar").read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardCorrupt, match=r"cut\.tar"):
        [reader.read(cut, number) for number in range(16)]
    with pytest.raises(ShardCorrupt, match="ends after 16 samples"):
        reader.read(data / "train-000000.tar", 16)
    rubbish = tmp_path / "rubbish.tar"
    rubbish.write_bytes(b"x" * 4096)
    with pytest.raises(ShardCorrupt, match="not a complete shard"):
        reader.read(rubbish, 0)
