import numpy as np
import pytest

from anyseek.search.answers.ranks import ranks
from anyseek.search.evaluation import measures
from anyseek.search.evaluation.measures import Answers, estimate, score


def _answers(own: list[int], queries: list[list[int]] | None = None, gallery: list[list[int]] | None = None, **more):
    none = [[]] * len(own)
    return Answers(np.array(own), np.array(queries or none, bool), np.array(gallery or [[]] * 4, bool), **more)


def test_ranks_count_from_one_and_ties_count_against_the_query() -> None:
    gallery = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0, 0], [0.5, 0.8, 0], [1, 1, 1], [0, 0, 0]], np.float32)
    assert ranks(queries, gallery, np.array([0, 0, 2, 1])).tolist() == [1, 2, 3, 3]


def test_own_items_are_scored_by_their_ranks() -> None:
    gallery = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 0, 0, 0], [0.9, 0.4, 0, 0], [0.5, 0.4, 0.3, 0.2]], np.float32)
    found = score(queries, gallery, _answers([0, 1, 3]))
    assert (found.queries, found.gallery) == (3, 4)
    assert found.at_1.value == pytest.approx(1 / 3)
    assert found.at_5.value == found.at_10.value == 1.0
    assert found.median_rank.value == 2
    assert found.mean_average_precision is None


def test_vectors_that_are_equal_but_for_rounding_find_nothing() -> None:
    generator = np.random.default_rng(0)
    vector = generator.standard_normal(300).astype(np.float32)
    gallery = np.repeat(vector[None] / np.linalg.norm(vector), 50, axis=0)
    gallery += generator.standard_normal(gallery.shape).astype(np.float32) * 1e-9
    found = score(gallery, gallery, Answers(np.arange(50), np.zeros((50, 0), bool), np.zeros((50, 0), bool)))
    assert found.median_rank.value == 50


def test_many_right_answers_are_averaged_by_hand() -> None:
    gallery = np.array([[1.0], [0.9], [0.8], [0.7]], np.float32)
    queries, asked, labels = np.ones((2, 1), np.float32), [[1, 0], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 0]]
    found = score(queries, gallery, _answers([-1, -1], asked, labels))
    # label 0 at places 1 and 3: (1/1 + 2/3) / 2; label 1 at place 2: 1/2
    assert found.mean_average_precision.value == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert found.median_rank.value == 1.5, "the ranks of the first right items are 1 and 2"
    itself = score(queries, gallery, _answers([0, 1], asked, labels, own_is_query=True))
    assert itself.mean_average_precision.value == pytest.approx(1 / 2), "of label 1 there is no other"
    assert itself.queries == 2


def test_equal_scores_count_against_the_query_in_average_precision() -> None:
    gallery, labels = np.ones((4, 1), np.float32), [[1], [0], [1], [0]]
    found = score(np.ones((1, 1), np.float32), gallery, _answers([-1], [[1]], labels))
    assert found.mean_average_precision.value == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_queries_without_a_right_item_are_not_counted() -> None:
    gallery = np.eye(4, dtype=np.float32)
    labels = [[1, 0]] * 4
    assert score(gallery[:1], gallery, _answers([-1], [[0, 1]], labels)) is None
    assert score(gallery[:2], gallery, _answers([-1, -1], [[0, 1], [1, 0]], labels)).queries == 1


def test_scores_do_not_depend_on_how_many_queries_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    rows = generator.standard_normal((60, 8)).astype(np.float32)
    labels = generator.random((60, 3)) < 0.4
    answers = Answers(np.arange(60), labels, labels, True)
    whole = score(rows, rows[::-1].copy(), answers)
    monkeypatch.setattr(measures, "_MAX_COSINES", 7 * 60)
    assert score(rows, rows[::-1].copy(), answers) == whole


def test_intervals_are_the_same_each_time_narrow_with_more_queries_and_hold_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, many = (estimate(np.array([1.0, 0.0] * count), np.mean) for count in (10, 500))
    assert many.high - many.low < few.high - few.low
    median = estimate(np.arange(101.0), np.median)
    assert (median.value, median.low < 50 < median.high) == (50, True)
    monkeypatch.setattr(measures, "_MAX_DRAWS", 1000)
    assert estimate(np.array([1.0, 0.0] * 10), np.mean) == few
