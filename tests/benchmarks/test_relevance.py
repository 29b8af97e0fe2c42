"""The method of `benchmarks.relevance`: what is left out of a fit, what counts as right, and what is reported."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import EmbeddingSpace, RelevanceCurve
from benchmarks.relevance.__main__ import _split, table
from benchmarks.relevance.galleries import LabelledSource, Vectors
from benchmarks.relevance.measuring import (
    HITS,
    Judged,
    auroc,
    fit_curve,
    hub_quality,
    joined,
    judged_names,
    judged_queries,
    nothing_good_threshold,
    report,
    typical,
)
from benchmarks.reporting import read_result

NAMES = ["cat", "dog", "house", "catfish", "tree"]
DIMENSION = 8


def _source(name: str, shown: tuple[int, ...] = (0, 1, 2)) -> LabelledSource:
    """Forty items of each name shown, which point where the name does."""
    random = np.random.default_rng(len(name))
    rows = np.repeat(np.eye(DIMENSION, dtype=np.float32)[list(shown)], 40, axis=0)
    rows = rows + 0.1 * random.normal(size=rows.shape).astype(np.float32)
    labels = [frozenset({NAMES[place]}) for place in shown for _ in range(40)]
    return LabelledSource(name, Vectors(rows / np.linalg.norm(rows, axis=1, keepdims=True), labels), None)


QUERIES = np.eye(DIMENSION, dtype=np.float32)[: len(NAMES)]
SPACE = EmbeddingSpace("space", DIMENSION, "", np.zeros(DIMENSION, np.float32), typical_queries={"caption": QUERIES})


def _judged(count: int = 400, seed: int = 0, source: str = "a") -> Judged:
    """Hits that are right as a known curve says."""
    random = np.random.default_rng(seed)
    features = np.sort(random.normal(size=(count, HITS, 2)), axis=1)[:, ::-1]
    likely = 1 / (1 + np.exp(-(features @ np.array([2.0, 1.0]) - 0.5)))
    right = random.random(size=likely.shape) < likely
    return Judged(features, right, right.any(axis=1), np.ones(count), np.full(count, source))


def test_a_fit_finds_the_curve_again() -> None:
    curve = fit_curve(_judged(4_000))
    assert (curve.offset, *curve.weights) == pytest.approx((-0.5, 2.0, 1.0), abs=0.1)


def test_sources_count_the_same_whatever_their_size() -> None:
    few, many = _judged(200, 1, "few"), _judged(4_000, 2, "many")
    wrong = replace(few, right=np.zeros_like(few.right))
    assert fit_curve(joined([wrong, many])).offset < fit_curve(joined([few, many])).offset - 0.5


def test_the_source_that_is_judged_is_left_out() -> None:
    others, own = _split([_judged(5, 1, "a"), _judged(6, 2, "b"), _judged(7, 3, "c")], "b")
    assert set(others.sources) == {"a", "c"}
    assert set(own.sources) == {"b"}
    assert (len(others.right), len(own.right)) == (12, 6)


def test_typical_queries_have_none_that_are_left_out() -> None:
    kept = typical(QUERIES, [name in {"dog", "tree"} for name in NAMES])
    assert {int(row.argmax()) for row in kept} == {0, 2, 3}


def test_names_that_are_there_find_and_absent_ones_share_no_word_with_labels() -> None:
    judged = judged_names(SPACE, _source("a"), NAMES, QUERIES, 0)
    assert judged.right[judged.present].any(axis=1).all(), "every name that is there finds an item of its class"
    assert not judged.right[~judged.present].any()
    assert judged.weights[judged.present].sum() == pytest.approx(judged.weights[~judged.present].sum())
    present, absent = judged.present.sum(), (~judged.present).sum()
    assert (present, absent) == (3 * 7, 7), "tree alone is absent, and not catfish where there are cats"


def test_pictures_ask_in_the_galleries_of_their_source() -> None:
    source = _source("a")
    asking = Vectors(QUERIES[:2], [frozenset({"cat"}), frozenset({"tree"})])
    judged = judged_queries(SPACE, source, asking, "rgb", 0)
    assert judged.right.any(axis=1).all(), "a picture of a class that is not there does not ask"


def test_auroc_counts_ties_half() -> None:
    right = np.array([True, False, True, False])
    assert auroc(np.array([3.0, 2.0, 1.0, 0.0]), right) == 0.75
    assert auroc(np.ones(4), right) == 0.5


def test_nothing_good_is_said_of_at_most_one_right_answer_in_fifty() -> None:
    judged = _judged(1_000)
    stated = judged.probabilities(RelevanceCurve(-0.5, (2.0, 1.0), 0.0))
    threshold = nothing_good_threshold(stated, judged)
    good = judged.right[:, :5].any(axis=1)
    assert 0 < (stated[good, 0] < threshold).mean() <= 0.02
    found = report(stated, np.full(1_000, threshold), judged)
    assert found["nothing_good_wrongly"] == pytest.approx((stated[good, 0] < threshold).mean(), abs=1e-3)
    assert all(abs(each["stated"] - each["right"]) < 0.05 for each in found["deciles"])
    assert found["stated_0.8"]["right"] > 0.8


def test_a_correction_for_hubs_is_compared_with_none() -> None:
    """One item is a little nearer to every query than their own items are."""
    source = _source("a")
    hub = QUERIES[:3].sum(axis=0) / np.sqrt(3)
    rows = np.concatenate([0.4 * source.gallery.rows + 0.9 * np.eye(DIMENSION, dtype=np.float32)[7], hub[None]])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery = Vectors(rows, [*source.gallery.labels, frozenset({"nothing"})])
    asking = Vectors(QUERIES[:3], [frozenset({name}) for name in NAMES[:3]])
    space = replace(SPACE, typical_queries={"caption": np.tile(QUERIES[:3], (4, 1))})
    found = hub_quality(space, "caption", gallery, asking)
    assert found["map_corrected"] >= found["map_plain"]
    assert found["commonest_corrected"] <= found["commonest_plain"]
    plain = replace(space, typical_queries={})
    assert hub_quality(plain, "caption", gallery, asking)["map_corrected"] == found["map_plain"]


def test_the_table_has_a_line_for_each_kind() -> None:
    lines = table(read_result("relevance")).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| names", "| pictures", "| drawings"]
