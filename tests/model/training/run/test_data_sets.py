from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.data.shards import read_shard
from anyseek.model.training.run.data_sets import FolderOrder, MixedOrder, ShardReader


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any), st.integers(1, 5), st.integers(0, 3))
def test_every_sample_comes_once_in_each_pass(counts: list[int], window: int, seed: int) -> None:
    order, total = FolderOrder(counts, window, (seed,)), sum(counts)
    everything = {(shard, sample) for shard, count in enumerate(counts) for sample in range(count)}
    for epoch in range(2):
        assert {order.place(epoch * total + n) for n in range(total)} == everything


def test_only_a_window_of_shards_is_open_at_a_time() -> None:
    order = FolderOrder([10] * 20, 4, (0,))
    for start in range(0, 200, 40):
        assert len({order.place(n)[0] for n in range(start, start + 40)}) == 4


def test_passes_and_seeds_differ_and_the_order_has_no_memory() -> None:
    order = FolderOrder([7, 5, 9], 2, (1,))
    first = [order.place(n) for n in range(21)]
    assert first != [order.place(n) for n in range(21, 42)]
    assert first != [FolderOrder([7, 5, 9], 2, (2,)).place(n) for n in range(21)]
    fresh = FolderOrder([7, 5, 9], 2, (1,))
    assert [fresh.place(n) for n in reversed(range(21))] == first[::-1]


def test_samples_of_different_shards_are_mixed() -> None:
    order = FolderOrder([50] * 4, 4, (0,))
    shards = [order.place(n)[0] for n in range(200)]
    changes = sum(a != b for a, b in pairwise(shards))
    assert changes > 120  # 150 are expected of a full shuffle, 3 of none


def test_folders_take_turns_by_weight() -> None:
    order = MixedOrder([[30], [500, 500], [40]], [0.6, 0.3, 0.1], 4, 0)
    seen = Counter(order.place(n).folder for n in range(5000))
    assert [seen[folder] for folder in range(3)] == [3000, 1500, 500]
    first = Counter(order.place(n).folder for n in range(200))
    assert first[0] == pytest.approx(120, abs=30)


def test_any_sample_of_a_folder_can_be_drawn() -> None:
    order, generator = MixedOrder([[3, 0, 2]], [1.0], 2, 0), np.random.default_rng(0)
    seen = Counter((place.shard, place.sample) for place in (order.random_place(0, generator) for _ in range(1000)))
    assert set(seen) == {(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)}
    assert min(seen.values()) > 150


def test_single_samples_are_what_the_whole_shard_has(data: Path) -> None:
    reader = ShardReader(kept=1)
    for path in sorted(data.glob("train-*.tar")):
        for number, entry in enumerate(read_shard(path)):
            assert reader.read(path, number) == entry
            assert reader.key(path, number) == entry.key
            assert reader.fields(path, number) == {name.partition(".")[0] for name in entry.files}
            assert set(reader.read(path, number, {"rgb", "caption", "none"}).files) == {"rgb.png", "caption.json"}
    reader.close()


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
