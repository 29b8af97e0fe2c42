"""What rankings give to items, and how it adds up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.search.confidence.probabilities import Standing
from anyseek.search.query.fusing import Weighted, by_rank, fused, parts_of_score


def standing(*surprises: float) -> Standing:
    """How far the items 0, 1, … stand out."""
    z = np.array(surprises)
    return Standing(np.arange(len(z)), z, float(z.min(initial=0.0)), 0.0, 0.0, len(z))


def ranking(weight: float, *surprises: float) -> Weighted:
    """A ranking of the items 0, 1, … by how far they stand out."""
    order = sorted(range(len(surprises)), key=lambda item_id: -surprises[item_id])
    return Weighted(weight, [(item_id, rank) for rank, item_id in enumerate(order, 1)], standing(*surprises))


def test_the_first_has_1_and_others_what_rank_and_distance_say() -> None:
    shares = ranking(1.0, 4.0, 2.0, -1.0).shares()
    assert shares[0] == 1
    assert shares[1] == pytest.approx((61 / 62 + 2 * 0.5) / 3)
    assert shares[2] == pytest.approx(61 / 63 / 3), "what stands out less than others has its rank alone"


def test_the_rank_alone_counts_where_nothing_stands_out() -> None:
    for nothing in (Weighted(1.0, [(7, 1), (8, 2)]), ranking(1.0, 0.0, -1.0)):
        assert sorted(nothing.shares().values()) == pytest.approx([61 / 62, 1])


def test_the_first_items_are_told_apart_by_how_far_they_stand_out() -> None:
    """By ranks alone item 1 would come first: it is first and third, and item 0 is second and second."""
    words = ranking(1.0, 3.0, 3.1, 1.0)
    colours = ranking(1.0, 3.0, 1.0, 3.1)
    assert fused([words, colours])[0][0] == 0


def test_what_is_unwanted_is_lowered_and_never_added() -> None:
    found = dict(fused([ranking(1.0, 3.0, 2.0), Weighted(-1.0, [(0, 1), (9, 2)])]))
    assert found.keys() == {0, 1}
    assert found[0] == pytest.approx(0)


ITEMS = st.lists(st.floats(-5, 5), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.floats(0.1, 5), ITEMS), min_size=1, max_size=4))
def test_scores_fall_and_are_what_the_rankings_add(given: list[tuple[float, list[float]]]) -> None:
    rankings = [ranking(weight, *surprises) for weight, surprises in given]
    scores = fused(rankings)
    values = [score for _, score in scores]
    assert values == sorted(values, reverse=True) or max(np.diff(values)) < 1e-11
    assert all(0 <= score <= 1 + 1e-9 for score in values)
    assert all(score == pytest.approx(sum(parts_of_score(rankings, item_id))) for item_id, score in scores)


def test_a_rank_gives_less_the_later_it_is() -> None:
    assert [by_rank(rank) for rank in (1, 62)] == [1, 0.5]
