"""Fitting and measuring what is told of photos, and where the fit is written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.bundled.bundle import ANSWERS, MANIFEST, load_bundle
from anyseek.model.towers.captions import general_words
from anyseek.model.towers.telling import Answers, Question
from benchmarks.telling import Seen, fitted, measured, of_captions, write_answers
from tests.model.training.towers.test_certainty import linked


def seen(source: str, seed: int, count: int = 400) -> list[Seen]:
    """Photos with people where the first word fits, indoors where the second does."""
    fits = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32) * 5
    return [
        Seen(source, torch.tensor(row), {Question.PEOPLE: bool(row[0] > 0), Question.INDOORS: bool(row[1] > 0)})
        for row in fits
    ]


def test_a_fit_holds_on_a_source_that_it_has_not_seen() -> None:
    answers = fitted(seen("one", 0) + seen("two", 1))
    row = measured(seen("three", 2), answers, Question.PEOPLE, True)
    assert row.photos == 400
    assert row.precision is not None
    assert row.precision > 0.97
    assert row.recall is not None
    assert row.recall > 0.2
    assert 0.5 <= row.majority < 0.6


def test_shares_of_nothing_are_none() -> None:
    never = Answers(dict.fromkeys(Question, (0.0,) * 5), 0.9)
    photos = [each for each in seen("one", 0, 40) if not each.truth[Question.PEOPLE]]
    row = measured(photos, never, Question.PEOPLE, True)
    assert (row.said, row.precision, row.recall, row.majority) == (0, None, None, 1)


@pytest.mark.parametrize(
    ("caption", "truth"),
    [
        ("Two dogs play in the snow.", {Question.PEOPLE: False, Question.INDOORS: False}),
        ("A man in a kitchen", {Question.PEOPLE: True, Question.INDOORS: True}),
        ("A room with a view of the sea", {Question.PEOPLE: False}),
        ("A dog", {Question.PEOPLE: False}),
    ],
)
def test_what_captions_say(caption: str, truth: dict[Question, bool]) -> None:
    assert of_captions([caption]) == truth


def test_writing_answers_changes_no_fingerprint(tmp_path: Path) -> None:
    folder = linked(tmp_path / "mine")
    before = load_bundle("mine", folder)
    made = Answers(dict.fromkeys(Question, (0.5,) * (len(general_words()) + 1)), 0.8)
    write_answers(folder, made)
    after = load_bundle("mine", folder)
    assert after.answers == made
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "spoiled", [{}, [], {"sure": 2, "weights": {}}, {"sure": 0.8, "weights": {"people": [1, 2], "indoors": [1, 2]}}]
)
def test_damaged_answers_are_refused(tmp_path: Path, spoiled: object) -> None:
    folder = linked(tmp_path / "mine")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest[ANSWERS] = spoiled
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsCorrupt, match="answer"):
        load_bundle("mine", folder)
