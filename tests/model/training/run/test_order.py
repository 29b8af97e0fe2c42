from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.training.run.data_sets import FolderOrder, MixedOrder, block_shares


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


def test_a_folder_goes_on_where_it_was_in_the_block_before() -> None:
    order = MixedOrder([[700], [300]], [0.7, 0.3], 4, 0)
    places = [order.place(n) for n in range(1000)]
    assert len({(place.folder, place.shard, place.sample) for place in places}) == 1000


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=9))
def test_the_shares_of_a_block_fill_it(weights: list[float]) -> None:
    shares = block_shares(weights)
    assert shares.sum() == 1000
    assert np.abs(shares - np.array(weights) / sum(weights) * 1000).max() < 1


def test_any_sample_of_a_folder_can_be_drawn() -> None:
    order, generator = MixedOrder([[3, 0, 2]], [1.0], 2, 0), np.random.default_rng(0)
    seen = Counter((place.shard, place.sample) for place in (order.anywhere(0, generator) for _ in range(1000)))
    assert set(seen) == {(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)}
    assert min(seen.values()) > 150
