import numpy as np
import pytest

from search.evaluation import bootstrap_interval, ranks, recall


def test_ranks_count_from_one_and_ties_count_against_the_query() -> None:
    gallery = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0, 0], [0.5, 0.8, 0], [1, 1, 1], [0, 0, 0]], np.float32)
    assert ranks(queries, gallery, np.array([0, 0, 2, 1])).tolist() == [1, 2, 3, 3]


def test_recall_of_known_ranks() -> None:
    found = recall(np.array([1, 1, 5, 10, 11, 40]))
    assert found.at_1 == pytest.approx(2 / 6)
    assert found.at_10 == pytest.approx(4 / 6)
    assert found.median_rank == 7.5
    assert found.queries == 6
    low, high = found.interval_at_10
    assert low < found.at_10 < high


def test_recall_needs_a_query() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        recall(np.array([], np.int64))


def test_intervals_are_the_same_each_time_and_narrow_with_more_queries() -> None:
    few, many = np.array([True, False] * 10), np.array([True, False] * 500)
    assert bootstrap_interval(few) == bootstrap_interval(few)
    assert np.diff(bootstrap_interval(many)) < np.diff(bootstrap_interval(few))
