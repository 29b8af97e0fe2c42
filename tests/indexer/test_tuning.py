"""Tuning a collection's queries on its own items: what is fitted and kept, and what it belongs to."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sqlalchemy import select, update

from anyseek.indexer.runs import Tools
from anyseek.indexer.tuning import NothingToTune, _Asked, _computed, reset, tune
from anyseek.model.hashing import DIMENSION, SPACE, HashingEmbedder
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.modalities.rough_maps import painted, rounded
from anyseek.model.seam import FloatArray, Regions, Sample
from anyseek.search.catalogue import collections, tunings
from anyseek.search.catalogue.tables import CurveRow, SpaceRow, TuningRow
from anyseek.search.curve import OwnCurve
from anyseek.search.errors import BadInput, CollectionNotFound, FingerprintMismatch
from anyseek.search.maintenance import verify
from anyseek.search.own_curves import CurveTrial, part_of, try_curve
from anyseek.search.probabilities import Background
from anyseek.search.types import Part, Query, Tuning
from tests.indexer.harness import NAME, index, installation
from tests.indexer.mirrored import Mirrored


class Leaning(HashingEmbedder):
    """All drawings lean towards one direction, which some pictures share."""

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        found = super().embed(samples, spaces)
        drawn = [row for row, sample in enumerate(samples) if "canny_edge" in sample.values]
        for rows in found.values():
            rows[drawn] += 3 * self._direction()
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return found

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        found = self.embed(samples, spaces)
        # By what they show, as a picture has the same vector in every batch.
        leaning = [row for row, sample in enumerate(samples) if int(np.sum(sample.values["rgb"])) % 3 == 0]
        for rows in found.values():
            rows[leaning] += self._direction()
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return found

    def _direction(self) -> FloatArray:
        return np.eye(1, DIMENSION, DIMENSION - 1, dtype=np.float32)[0]


def scene(seed: int) -> Image.Image:
    """A few boxes at places of their own."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (64, 64), "white")
    for _ in range(4):
        left, top = random.integers(2, 44, 2).tolist()
        wide, high = random.integers(6, 18, 2).tolist()
        ImageDraw.Draw(image).rectangle((left, top, left + wide, top + high), tuple(random.integers(0, 160, 3)))
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    for number in range(60):
        scene(number).save(tmp_path / "scenes" / f"{number:02}.png")
    return tmp_path / "scenes"


@pytest.fixture
def tools(tmp_path: Path, folder: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home", Leaning()) as tools:
        index(tools, folder)
        yield tools


def place_of(tools: Tools, number: int) -> int:
    """The rank of a scene for its own edges, 99 if it is not found."""
    drawing = varied_canny(np.asarray(scene(number)), np.random.default_rng(1000 + number))
    hits = tools.engine.query(NAME, Query((Part("canny_edge", drawing),), k=60)).hits
    return next((hit.rank for hit in hits if hit.item.key.startswith(f"{number:02}")), 99)


def held(tools: Tools) -> tuple[Tuning, ...]:
    with tools.database.read() as session:
        return collections.get(session, NAME).spaces[SPACE].tunings


def test_queries_find_more_and_reset_undoes_it(tools: Tools) -> None:
    before = [place_of(tools, number) for number in range(12)]
    tuned = tune(tools, NAME)
    (edges,) = tuned.kept
    assert (edges.modality, edges.queries, tuned.unreadable) == ("canny_edge", 60, 0)
    assert edges.after.at_10 > edges.before.at_10
    (kept,) = held(tools)
    assert (kept.before, kept.after, kept.queries) == (edges.before.at_10, edges.after.at_10, 60)
    after = [place_of(tools, number) for number in range(12)]
    assert sum(after) < sum(before)
    reset(tools.database, NAME)
    assert held(tools) == ()
    assert [place_of(tools, number) for number in range(12)] == before


def curves(tools: Tools) -> dict[str, OwnCurve]:
    with tools.database.read() as session:
        return {own.modality: own for own in collections.get(session, NAME).spaces[SPACE].curves}


def likely(tools: Tools, number: int) -> list[float | None]:
    """The probabilities of what a part of a scene finds."""
    part = part_of(np.asarray(scene(number)))
    return [hit.probability for hit in tools.engine.query(NAME, Query((Part("rgb", part),), k=5)).hits]


def test_probabilities_are_calibrated_and_reset_undoes_it(tmp_path: Path, tools: Tools) -> None:
    before = [likely(tools, number) for number in range(6)]
    tuned = tune(tools, NAME)
    trials = {trial.modality: trial for trial in tuned.curves}
    assert {"canny_edge", "rgb"} <= trials.keys()
    assert trials["rgb"].helps
    assert trials["rgb"].queries == 60
    kept = curves(tools)
    assert kept.keys() == {name for name, trial in trials.items() if trial.helps}
    own, trial = kept["rgb"], trials["rgb"]
    assert (own.before, own.after) == (trial.before.error_of_best, trial.after.error_of_best)
    assert own.curve.surprise == pytest.approx(trial.curve.surprise)
    after = [likely(tools, number) for number in range(6)]
    assert after != before
    with installation(tmp_path / "home", Leaning()) as other:
        assert [likely(other, number) for number in range(6)] == after
    reset(tools.database, NAME)
    assert curves(tools) == {}
    assert [likely(tools, number) for number in range(6)] == before


def test_what_fits_less_well_is_not_kept(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.search.own_curves.fitted_curve", lambda shipped, hits: replace(shipped, offset=9.0))
    tuned = tune(tools, NAME)
    assert tuned.curves
    assert not any(trial.helps for trial in tuned.curves)
    assert curves(tools) == {}


def test_what_was_not_drawn_competes_with_what_was(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few items alone hits would be likelier than they are; not so where captions are in the items' vectors."""
    compared = []

    def note(space: str, modality: str, sample: Background, *others: Any) -> CurveTrial | None:
        compared.append((len(sample.ids), len(others[-1])))
        return try_curve(space, modality, sample, *others)

    monkeypatch.setattr("anyseek.indexer.tuning.try_curve", note)
    with installation(tmp_path / "plain", HashingEmbedder()) as tools:
        index(tools, folder)
        tune(tools, NAME, most=30, dry_run=True)
        assert set(compared) == {(60, 60)}
        monkeypatch.setattr("anyseek.indexer.tuning._SAME", 1.1)
        compared.clear()
        tune(tools, NAME, most=30, dry_run=True)
        assert set(compared) == {(30, 30)}


def test_pictures_in_the_same_words_are_equally_right() -> None:
    asked = _Asked([], [0, 1, 2], ["a dog", "a cat", "a dog"])
    assert asked.things(4, ["a cat", None, "a dog"]).tolist() == [0, 1, 0, 3, 1, 5, 0]


def test_maps_are_calibrated_as_if_painted_and_others_not_at_all() -> None:
    """Items' own maps fit their pictures better than what users ask with."""
    ids = np.zeros((120, 120), np.uint8)
    ids[:50, :70] = 1
    values = {"rgb": np.zeros((40, 40, 3), np.uint8), "semseg": Regions(ids, {0: "floor", 1: "wall"})}
    model = HashingEmbedder()
    model.modalities = frozenset({"depth", "semseg"})
    made = _computed([{**values, "depth": np.ones((8, 8), np.float32)}], model, 7)
    assert "depth" not in made
    painting = made["semseg"][7].values["semseg"]
    assert isinstance(painting, Regions)
    assert painting.ids.shape == rounded(painted(values["semseg"], 12)).ids.shape
    assert set(np.unique(painting.ids)) == {0, 1}


def test_another_process_uses_the_tuning_at_its_next_query(tmp_path: Path, tools: Tools) -> None:
    with installation(tmp_path / "home", Leaning()) as other:
        before = [place_of(other, number) for number in range(6)]
        tune(tools, NAME)
        assert [place_of(other, number) for number in range(6)] != before


def test_a_dry_run_changes_nothing(tools: Tools) -> None:
    tuned = tune(tools, NAME, dry_run=True)
    assert tuned.kept
    assert held(tools) == ()


def test_originals_that_are_gone_are_counted_and_left_out(tools: Tools, folder: Path) -> None:
    for number in range(5):
        (folder / f"{number:02}.png").unlink()
    tuned = tune(tools, NAME, dry_run=True)
    assert (tuned.items, tuned.unreadable, tuned.trials[0].queries) == (60, 5, 55)


def test_a_tuning_of_other_weights_is_never_applied(tools: Tools) -> None:
    tune(tools, NAME)
    before = [place_of(tools, number) for number in range(6)]
    reset(tools.database, NAME)
    untuned = [place_of(tools, number) for number in range(6)]
    assert before != untuned
    mean = np.full(DIMENSION, 9, np.float32)
    with tools.database.write() as session:
        (space,) = collections.head(session, NAME).spaces
        now = collections.get(session, NAME).created_at
        tunings.replace(session, space.id, [Tuning("canny_edge", "other weights", mean, 60, 0.0, 1.0, now)])
    assert held(tools) == ()
    assert [place_of(tools, number) for number in range(6)] == untuned


def test_a_damaged_tuning_is_named_and_never_applied(tools: Tools) -> None:
    untuned = [place_of(tools, number) for number in range(6)]
    tune(tools, NAME)
    with tools.database.write() as session:
        mean = session.scalars(select(TuningRow.mean)).one()
        flipped = bytes([mean[0] ^ 64, *mean[1:]])
        session.execute(update(TuningRow).values(mean=flipped))
        session.execute(update(SpaceRow).values(tuning_version=SpaceRow.tuning_version + 1))  # read it again
    (problem,) = verify(tools.database, tools.settings)
    assert "the tuning of canny_edge queries is damaged and not used" in problem.what
    assert [place_of(tools, number) for number in range(6)] == untuned
    tune(tools, NAME)
    assert verify(tools.database, tools.settings) == []


def test_a_damaged_curve_is_named_and_never_applied(tools: Tools) -> None:
    before = [likely(tools, number) for number in range(6)]
    tune(tools, NAME)
    with tools.database.write() as session:
        numbers = session.scalars(select(CurveRow.numbers).where(CurveRow.modality == "rgb")).one()
        flipped = bytes([numbers[0] ^ 64, *numbers[1:]])
        session.execute(update(CurveRow).where(CurveRow.modality == "rgb").values(numbers=flipped))
        session.execute(update(SpaceRow).values(tuning_version=SpaceRow.tuning_version + 1))  # read it again
    (problem,) = verify(tools.database, tools.settings)
    assert "the tuning of rgb queries is damaged and not used" in problem.what
    assert [likely(tools, number) for number in range(6)] == before
    tune(tools, NAME)
    assert verify(tools.database, tools.settings) == []


def test_a_model_that_did_not_make_the_collection_is_refused(tmp_path: Path, tools: Tools) -> None:
    with installation(tmp_path / "home", Mirrored()) as other, pytest.raises(FingerprintMismatch, match="mirrored"):
        tune(other, NAME)


def test_too_few_pictures_and_wrong_numbers_are_refused(tmp_path: Path, tools: Tools) -> None:
    with tools.database.write() as session:
        collections.create(session, "empty", "hashing", tools.embedder.spaces.values())
    with pytest.raises(NothingToTune, match="fewer than 20 have a picture"):
        tune(tools, "empty")
    with pytest.raises(BadInput, match="20 to 4,096 items, not 5"):
        tune(tools, NAME, most=5)
    with pytest.raises(CollectionNotFound):
        tune(tools, "gone")
