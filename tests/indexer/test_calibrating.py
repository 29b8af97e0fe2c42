"""Probabilities are fitted to a collection at the end of a job that made many items: when, what, and what stays."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from anyseek.indexer import calibrating, tuning
from anyseek.indexer.errors import JobStopped
from anyseek.indexer.indexing import IndexRun, open_collection, open_job
from anyseek.indexer.reembed import ReembedRun
from anyseek.indexer.runs import Owner, Tools
from anyseek.indexer.sources.opening import open_source
from anyseek.indexer.tuning import Tuned, reset, tune
from anyseek.model.hashing import SPACE, HashingEmbedder
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.catalogue import audit, collections, jobs, reembedding
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.tables import SpaceRow
from anyseek.search.curve import OwnCurve
from anyseek.search.errors import BadInput
from anyseek.search.maintenance import verify
from anyseek.search.types import Part, Query
from tests.indexer.harness import NAME, Counting, index, installation, reembed_tools
from tests.indexer.mirrored import Mirrored
from tests.indexer.test_tuning import scene

ITEMS = 40


class Named(HashingEmbedder):
    """A model for which collections are calibrated; it counts the pictures that it embeds alone."""

    name = "named"
    alone = 0

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.alone += sum(sample.values.keys() == {"rgb"} for sample in samples)
        return super().embed_gallery(samples, spaces)


@pytest.fixture(autouse=True)
def _small_jobs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "MADE_FOR_EACH", 1)


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home", Named()) as tools:
        yield tools


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    add(tmp_path / "scenes", range(ITEMS))
    return tmp_path / "scenes"


def add(folder: Path, numbers: range) -> None:
    for number in numbers:
        scene(number).save(folder / f"{number:03}.png")


def space_of(tools: Tools) -> SpaceHead:
    with tools.database.read() as session:
        (space,) = collections.head(session, NAME).spaces
    return space


def curves(tools: Tools) -> dict[str, OwnCurve]:
    with tools.database.read() as session:
        return {own.modality: own for own in collections.get(session, NAME).spaces[SPACE].curves}


def actions(tools: Tools) -> list[str]:
    with tools.database.read() as session:
        return [entry.action for entry in audit.list_page(session, audit.Wanted(), None, 100)]


def found(tools: Tools, number: int) -> list[tuple[str, float | None]]:
    value = np.asarray(scene(number))[8:56, 8:56]
    hits = tools.engine.query(NAME, Query((Part("rgb", np.ascontiguousarray(value)),), k=ITEMS)).hits
    return [(hit.item.key, hit.probability) for hit in hits]


def test_curves_are_fitted_and_no_means_so_that_hits_keep_their_order(tools: Tools, folder: Path) -> None:
    index(tools, folder, calibrates=False)
    before = [found(tools, number) for number in range(6)]
    assert curves(tools) == {}
    add(folder, range(ITEMS, 4 * ITEMS))
    progress = Counting()
    job = index(tools, folder, progress=progress)
    assert (job.state, progress.calibrated_on) == (JobState.DONE, calibrating.MOST)
    own = curves(tools)
    assert "rgb" in own
    assert own["rgb"].queries == calibrating.MOST
    assert own["rgb"].after <= own["rgb"].before
    with tools.database.read() as session:
        assert collections.get(session, NAME).spaces[SPACE].tunings == ()
    assert space_of(tools).calibrated_count == 4 * ITEMS
    assert actions(tools).count("collection.calibrate") == 1
    after = [found(tools, number) for number in range(6)]
    reset(tools.database, NAME)
    without = [found(tools, number) for number in range(6)]
    assert [[key for key, _ in hits] for hits in after] == [[key for key, _ in hits] for hits in without]
    assert after != without
    assert [key for key, _ in before[0]][:1] == [key for key, _ in after[0]][:1]


@pytest.mark.parametrize("off", ["job", "setting", "few", "hashing"])
def test_it_is_left_out_where_it_is_not_wanted_and_where_it_would_cost_too_much(
    tmp_path: Path, folder: Path, off: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if off == "few":
        monkeypatch.setattr(calibrating, "MADE_FOR_EACH", 3)
    with installation(tmp_path / "home", HashingEmbedder() if off == "hashing" else Named()) as tools:
        tools = replace(tools, settings=replace(tools.settings, calibrate=off != "setting"))
        progress = Counting()
        index(tools, folder, progress=progress, calibrates=off != "job")
        assert (curves(tools), progress.calibrated_on, space_of(tools).calibrated_count) == ({}, 0, 0)


def test_it_is_done_again_once_the_collection_is_four_times_as_large(tools: Tools, folder: Path) -> None:
    counts = []
    for number in range(1, 5):
        add(folder, range(ITEMS * number))
        progress = Counting()
        index(tools, folder, progress=progress)
        counts.append((progress.calibrated_on, space_of(tools).calibrated_count))
    assert counts == [(ITEMS, ITEMS), (0, ITEMS), (0, ITEMS), (ITEMS, 4 * ITEMS)]


def test_what_a_user_tuned_or_undid_stays(tools: Tools, folder: Path) -> None:
    index(tools, folder)
    tune(tools, NAME)
    tuned = curves(tools)
    add(folder, range(ITEMS, 4 * ITEMS))
    index(tools, folder)
    assert curves(tools) == tuned
    reset(tools.database, NAME)
    add(folder, range(4 * ITEMS, 17 * ITEMS // 4))
    index(tools, folder)
    assert (curves(tools), space_of(tools).calibrated_count) == ({}, None)


def _instead(monkeypatch: pytest.MonkeyPatch, what: Callable[[Tools], object]) -> None:
    """Have something happen once everything was tried and before it is written."""
    tried = tuning.tried

    def first(tools: Tools, *others: Any, **options: Any) -> Tuned:
        done = tried(tools, *others, **options)
        monkeypatch.setattr(tuning, "tried", tried)
        what(tools)
        return done

    monkeypatch.setattr(tuning, "tried", first)


def test_what_a_user_tunes_meanwhile_stays(tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _instead(monkeypatch, lambda tools: tune(tools, NAME))
    index(tools, folder)
    assert space_of(tools).calibrated_count is None
    assert "collection.calibrate" not in actions(tools)


def test_a_collection_whose_mean_moves_meanwhile_is_left_to_the_next_job(
    tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(tools: Tools) -> None:
        with tools.database.write() as session:
            session.execute(update(SpaceRow).values(centre_version=SpaceRow.centre_version + 1))

    _instead(monkeypatch, move)
    index(tools, folder)
    assert (curves(tools), space_of(tools).calibrated_count) == ({}, 0)


def test_originals_that_are_away_for_a_while_take_no_curves_away(
    tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index(tools, folder)
    before = curves(tools)
    assert before
    add(folder, range(ITEMS, 4 * ITEMS))

    def away(*_: object) -> None:
        raise BadInput("the share is not mounted")

    monkeypatch.setattr(tuning, "read_originals", away)
    with caplog.at_level(logging.WARNING):
        index(tools, folder)
    assert (curves(tools), space_of(tools).calibrated_count) == (before, ITEMS)
    assert "have originals that cannot be read" in caplog.text


def test_what_was_undone_stays_so_when_the_model_changes(tools: Tools, folder: Path) -> None:
    index(tools, folder)
    reset(tools.database, NAME)
    _move(tools)
    assert (curves(tools), space_of(tools).calibrated_count) == ({}, None)


def test_a_job_that_is_joined_without_calibrating_does_not(tools: Tools, folder: Path) -> None:
    collection, source = open_collection(tools, NAME), open_source(tools.settings, folder)
    with Owner(tools.database, tools.settings) as owner:
        job = open_job(collection, source, owner, False)
        assert job.calibrates
        assert not open_job(collection, source, owner, False, adopt=False, calibrates=False).calibrates


def test_a_failure_is_one_line_of_the_log_and_none_of_the_job(
    tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(tools: Tools) -> None:
        raise RuntimeError("the model fell over")

    _instead(monkeypatch, fail)
    with caplog.at_level(logging.WARNING):
        assert index(tools, folder).state == JobState.DONE
    (line,) = [record.getMessage() for record in caplog.records if record.name == "anyseek.indexer.calibrating"]
    assert line == "the probabilities of c stay as they are, as calibrating failed: the model fell over"
    assert (curves(tools), space_of(tools).calibrated_count) == ({}, 0)


def test_a_death_on_the_way_loses_nothing_and_the_next_job_calibrates(
    tools: Tools, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(tools: Tools) -> None:
        raise Killed

    _instead(monkeypatch, die)
    with pytest.raises(Killed):
        index(tools, folder)
    with tools.database.read() as session:
        (job,) = jobs.list_page(session, None, 9)
    assert (job.state, job.counts.indexed, curves(tools)) == (JobState.DONE, ITEMS, {})
    assert verify(tools.database, tools.settings) == []
    add(folder, range(ITEMS, 2 * ITEMS))
    index(tools, folder)
    assert space_of(tools).calibrated_count == 2 * ITEMS


def test_a_process_that_is_told_to_stop_leaves_the_job_done(tools: Tools, folder: Path) -> None:
    collection, source = open_collection(tools, NAME), open_source(tools.settings, folder)
    with Owner(tools.database, tools.settings) as owner:

        class Stopping(Counting):
            def calibrating(self, items: int) -> None:
                super().calibrating(items)
                owner.stop()

        progress = Stopping()
        job = IndexRun(lambda: tools, source, owner, progress).run(open_job(collection, source, owner, False))
        with pytest.raises(JobStopped):
            owner.check()
    assert (job.state, progress.calibrated_on, curves(tools)) == (JobState.DONE, ITEMS, {})


def test_stored_vectors_of_pictures_alone_are_used_and_others_not(tools: Tools, folder: Path) -> None:
    """A vector that has an item's own caption in it would be found by that caption."""
    model = tools.embedder
    assert isinstance(model, Named)
    index(tools, folder)
    assert model.alone == ITEMS
    (folder / "manifest.jsonl").write_text(
        "".join(f'{{"file": "{number:03}.png", "caption": "scene {number}"}}\n' for number in range(10))
    )
    index(tools, folder, calibrates=False)
    tune(tools, NAME, dry_run=True)
    assert model.alone == ITEMS + 10


def _move(tools: Tools) -> tuple[JobState, int]:
    """Re-embed by another model; how that ended, and for how many items queries were made."""
    other = Mirrored()
    moved = replace(tools, embedder=other)
    with Owner(tools.database, tools.settings) as owner:
        with tools.database.write() as session:
            held = collections.get(session, NAME)
            alive = owner.living(session)
            job = reembedding.open_job(session, held, other.name, other.spaces.values(), owner.name, alive)
        progress = Counting()
        ended: Job = ReembedRun(reembed_tools(moved), owner, progress).run(job)
    return ended.state, progress.calibrated_on


def test_a_collection_that_moved_to_another_model_is_calibrated_anew(tools: Tools, folder: Path) -> None:
    index(tools, folder)
    assert _move(tools) == (JobState.DONE, ITEMS)
    assert space_of(tools).calibrated_count == ITEMS
    assert {own.fingerprint for own in curves(tools).values()} == {"mirrored-1"}
