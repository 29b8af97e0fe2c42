"""Fitting bridges: what is chosen, and that it is chosen on sources that were left out."""

import numpy as np
import pytest

from anyseek.model.bridges.space import unit
from anyseek.model.seam import FloatArray
from anyseek.model.training.bridges.adapt import Fit, fit_bridge, plain_bridge
from anyseek.model.training.bridges.material import NO_PHOTO, Asked, Kind, Material

D, PHOTOS = 32, 120


def _rows(seed: int, count: int = PHOTOS) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)


def _turn(seed: int) -> FloatArray:
    turned: FloatArray = np.linalg.qr(_rows(seed, D))[0].astype(np.float32)
    return turned


SHIFT, TURN = _rows(99, 1) * 3, _turn(98)


def _source(seed: int, turn: FloatArray, noise: float = 0.4) -> tuple[FloatArray, Asked]:
    """Photos, and renderings that lie apart from them and are turned."""
    photos = _rows(seed)
    looks = unit(photos @ turn + noise * _rows(seed + 50) + SHIFT)
    return unit(photos + 1), Asked(looks, None, np.arange(PHOTOS))


def _fit(turns: dict[str, FloatArray], modality: str = "depth") -> Fit:
    made = {source: _source(seed, turn) for seed, (source, turn) in enumerate(turns.items())}
    asked = {Kind(source, modality): values for source, (_, values) in made.items()}
    photos = {source: rows for source, (rows, _) in made.items()}
    return fit_bridge(Material(photos, {modality: asked}, dict.fromkeys(turns, "CC0")))


def test_a_map_that_holds_on_other_sources_is_used() -> None:
    fit = _fit({"a": TURN, "b": TURN, "c": TURN})
    assert fit.bridge.ways["depth"].weight > 0
    assert [trial.source for trial in fit.trials] == ["a/depth", "b/depth", "c/depth"]
    for trial in fit.trials:
        assert not trial.halves
        assert trial.plain is not None
        assert trial.chosen > trial.plain + 0.3


def test_a_map_that_harms_one_left_out_source_is_not_used() -> None:
    straight = np.eye(D, dtype=np.float32)
    fit = _fit({"a": TURN, "b": TURN, "odd": straight})
    odd = next(trial for trial in fit.trials if trial.source == "odd/depth")
    assert odd.plain is not None
    assert odd.chosen >= odd.plain - 0.01
    for trial in fit.trials:
        assert trial.plain is not None
        assert trial.chosen >= trial.plain - 0.01


def test_with_one_source_a_map_has_little_weight() -> None:
    fit = _fit({"a": TURN})
    assert all(trial.halves for trial in fit.trials)
    assert fit.bridge.ways["depth"].weight <= 0.5


def test_means_by_source_take_off_what_all_renderings_share() -> None:
    straight = np.eye(D, dtype=np.float32)
    fit = _fit({"a": straight, "b": straight})
    way = fit.bridge.ways["depth"]
    assert way.means.shape == (2, D)
    _, asked = _source(7, straight)
    assert asked.looks is not None
    assert abs(way.directions(asked.looks, None).mean(axis=0)).max() < abs(asked.looks.mean(axis=0)).max() / 2


def test_what_has_no_photos_serves_for_means_alone() -> None:
    photos, asked = _source(1, TURN)
    assert asked.looks is not None
    strokes = Asked(unit(_rows(5) + SHIFT), None, np.full(PHOTOS, NO_PHOTO))
    kinds = {Kind("a", "canny_edge"): asked, Kind("strokes", "line_drawing"): strokes}
    fit = fit_bridge(Material({"a": photos}, {"canny_edge": kinds}, {}))
    assert fit.bridge.ways["canny_edge"].means.shape == (2, D)
    assert {trial.source for trial in fit.trials} == {"a/canny_edge"}


def test_features_without_a_look_become_a_map() -> None:
    photos = {source: unit(_rows(seed)) for seed, source in enumerate("ab")}
    told = {
        Kind(source, "metadata"): Asked(None, rows[:, :8] + 0.01, np.arange(PHOTOS)) for source, rows in photos.items()
    }
    fit = fit_bridge(Material(photos, {"metadata": told}, {}))
    way = fit.bridge.ways["metadata"]
    found = way.directions(None, photos["a"][:, :8] + np.float32(0.01))
    assert (found * unit(photos["a"] * (np.arange(D) < 8))).sum(axis=1).mean() > 0.9


def test_nothing_is_fitted_without_pairs() -> None:
    fit = fit_bridge(Material({"a": unit(_rows(1, 5) + 1)}, {}, {}))
    assert fit.trials == ()
    assert fit.bridge.ways.keys() == plain_bridge(D).ways.keys()
    assert np.linalg.norm(fit.bridge.prior) == pytest.approx(np.linalg.norm(unit(_rows(1, 5) + 1).mean(axis=0)))
