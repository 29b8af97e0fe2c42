"""The benchmark of probabilities: what counts as right, and how far chance alone is off."""

import numpy as np
import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Sample
from anyseek.search.curve import Curve
from anyseek.search.own_curves import FirstHits
from benchmarks.calibration import _error_if_exact, _lines, _things, _told
from tests.indexer.test_tuning import scene


def test_pictures_in_the_same_words_are_equally_right() -> None:
    told = {place: Sample({"caption": text}) for place, text in ((0, "a dog"), (1, "a cat"), (3, "a dog"))}
    assert _things(told, 4).tolist() == [0, 1, 2, 0]
    palettes = {place: Sample({"color_palette": np.zeros((1, 3))}) for place in range(2)}
    assert _things(palettes, 2).tolist() == [0, 1]


def test_a_collection_has_a_line_for_each_kind_and_one_for_all() -> None:
    pictures = [np.asarray(scene(number)) for number in range(80)]
    told = _told("scenes", list(pictures), [f"scene {number // 2}" for number in range(80)])
    lines = [line.split(" | ") for line in _lines(HashingEmbedder(), told)]
    assert [line[:4] for line in lines] == [
        ["scenes", "caption", "40", "40"],
        ["scenes", "canny_edge", "40", "40"],
        ["scenes", "color_palette", "40", "40"],
        ["scenes", "rgb", "40", "40"],
        ["scenes", "all", "", "160"],
    ]
    assert all(float(number) >= 0 for line in lines for number in line[4:-1])
    assert {line[-1] for line in lines} <= {"own", "as it ships"}


def test_fewer_queries_are_tuned_on_and_as_many_asked() -> None:
    pictures = [np.asarray(scene(number)) for number in range(80)]
    told = _told("scenes", list(pictures), [f"scene {number}" for number in range(80)])
    lines = [line.split(" | ")[1:4] for line in _lines(HashingEmbedder(), told, (20, 30), with_means=False)]
    kinds = ["caption", "canny_edge", "color_palette", "rgb"]
    rows = [[[kind, str(count), "40"] for kind in kinds] + [["all", "", "160"]] for count in (20, 30)]
    assert lines == rows[0] + rows[1]


def test_chance_alone_is_off_by_less_with_more_hits() -> None:
    even = Curve(0.0, 0.0, 0.0, 0.0, 0.0)
    few, many = (
        _error_if_exact([(FirstHits(np.zeros((n, 4)), np.zeros(n), np.ones(n, np.bool_), np.arange(n)), even)])
        for n in (40, 4_000)
    )
    assert few == pytest.approx(0.2, abs=0.05)  # four in a bin, each right by the toss of a coin
    assert many < 0.03
