"""Fitting how sure captions are: what is judged, what is fitted and measured, and where it is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.bundled.bundle import CERTAINTY, MANIFEST, WEIGHTS, load_bundle
from anyseek.model.towers.captions import SIGNALS, Calibration, Candidate, From
from anyseek.model.training.certainty import Said, fitted, measured, write_calibration


def said(source: str, seed: int, count: int = 200) -> list[Said]:
    """Candidates whose first signal is the logit of how likely they fit; the rest is noise."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        signals = random.normal(size=(len(From), SIGNALS))
        fitting = random.random(len(From)) < 1 / (1 + np.exp(-2 * signals[:, 0]))
        candidates = [
            Candidate(f"a photo of {origin}", origin, tuple(row))
            for origin, row in zip(From, signals.tolist(), strict=True)
        ]
        made.append(Said(source, tuple(candidates), tuple(fitting.tolist())))
    return made


def test_a_fit_is_calibrated_on_a_source_that_it_has_not_seen() -> None:
    calibration = fitted(said("one", 0) + said("two", 1))
    row = measured(said("three", 2, 600), calibration)
    assert row["ECE"] < 0.1
    assert row["right of the sure"] > 0.75
    assert row["chosen right"] > row["network alone right"]
    assert all(weights[0] > 1 for weights in calibration.weights.values())


def linked(folder: Path) -> Path:
    """A copy of the bundled weights with a manifest of its own."""
    folder.mkdir()
    for path in (WEIGHTS / "4m-tiny").iterdir():
        if path.name != MANIFEST:
            (folder / path.name).symlink_to(path)
    (folder / MANIFEST).write_text((WEIGHTS / "4m-tiny" / MANIFEST).read_text())
    return folder


def test_writing_a_calibration_changes_no_fingerprint(tmp_path: Path) -> None:
    folder = linked(tmp_path / "mine")
    before = load_bundle("mine", folder)
    made = Calibration(dict.fromkeys(From, (0.5,) * (SIGNALS + 1)), 0.8)
    write_calibration(folder, made)
    after = load_bundle("mine", folder)
    assert after.certainty == made
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize("spoiled", [{}, {"sure": 2, "weights": {}}, {"sure": 0.5, "weights": {"guess": [1]}}, []])
def test_a_damaged_calibration_is_refused(tmp_path: Path, spoiled: object) -> None:
    folder = linked(tmp_path / "mine")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest[CERTAINTY] = spoiled
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsCorrupt, match="how sure captions are"):
        load_bundle("mine", folder)


def test_both_bundled_sets_say_how_sure_they_are() -> None:
    for name in ("4m-tiny", "4m-tiny-open"):
        assert load_bundle(name).certainty is not None
