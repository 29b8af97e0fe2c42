"""A collection moves to another model, and back, while items come, change and go."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from anyseek.indexer.errors import JobCancelled, JobStopped
from anyseek.indexer.indexing import ensure_collection
from anyseek.indexer.pipeline import MODEL_FAILED
from anyseek.indexer.put import put_item
from anyseek.indexer.reembed import ReembedContext, ReembedRun
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.samples import RawFile
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.catalogue import collections, items, jobs, ledger, log, reembedding, space_switch
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.reembedding import AlreadyEmbedded, ReembedUnderWay
from anyseek.search.catalogue.space_switch import NothingBuilt, NothingKept, OldVectorsKept
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import FingerprintMismatch
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.types import Collection, Part, Query
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.snapshots import prepare_switch, remove_unknown
from anyseek.search.upkeep.verify import items_left_out, verify
from tests.indexer.harness import NAME, Counting, check_agreement, held, index, installation
from tests.indexer.mirrored import NEW, OLD, Mirrored
from tests.indexer.pictures import folder_of, noise, png


class Installation:
    """Six pictures of a folder and one item of the API, with the old model; and another model to move to."""

    def __init__(self, context: IndexerContext, folder: Path) -> None:
        self.context = context
        self.folder = folder
        self.other = Mirrored()
        engine = SearchEngine(context.database, context.settings, self.other)
        self.other_context = IndexerContext(context.settings, context.database, context.assets, self.other, engine)
        self.loaded: list[str] = []

    def load(self, model: str) -> IndexerContext:
        self.loaded.append(model)
        return {OLD: self.context, NEW: self.other_context}[model]

    def collection(self) -> Collection:
        with self.context.database.read() as session:
            return collections.get(session, NAME)

    def begin(self, owner: Owner | None, back: bool = False) -> Job:
        with self.context.database.write() as session:
            collection = collections.get(session, NAME)
            alive = Owner(self.context.database, self.context.settings).liveness_check(session)
            name = owner.name if owner else None
            if back:
                return reembedding.open_rollback(session, collection, name, alive)
            return reembedding.open_job(session, collection, NEW, self.other.spaces.values(), name, alive)

    def move(self, back: bool = False) -> Job:
        """What `anyseek collections reembed`, or `rollback`, does."""
        with Owner(self.context.database, self.context.settings) as owner:
            return self.run(self.begin(owner, back), owner)

    def run(self, job: Job, owner: Owner) -> Job:
        context = self.context
        through = ReembedContext(context.settings, context.database, context.assets, self.load, self.prepare)
        return ReembedRun(through, owner, Counting()).run(job)

    def prepare(self, collection: str) -> None:
        context = self.context
        backend = LocalBackend(context.database, context.settings)
        prepare_switch(context.database, context.settings, collections_head(context), backend.open)

    def put(self, key: str, seed: int) -> None:
        put_item(self.context, NAME, key, [RawFile("rgb", png(seed), f"{key}.png")])

    def delete(self, key: str) -> None:
        with self.context.database.write() as session:
            items.delete(session, self.collection(), [key])

    def nearest(self, context: IndexerContext, seed: int) -> str:
        """The key of the item nearest to a picture."""
        return context.engine.query(NAME, Query((Part("rgb", np.asarray(noise(seed))),), 1)).hits[0].key


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path / "home") as context:
        folder = folder_of(tmp_path / "photos", range(6))
        index(context, folder)
        made = Installation(context, folder)
        made.put("put", 50)
        yield made


def test_new_vectors_serve_after_the_switch_and_the_old_ones_until_then(installed: Installation) -> None:
    seen: list[str] = []
    installed.other.at_work = lambda: seen.append(installed.nearest(installed.context, 5))
    job = installed.move()
    assert (job.state, job.kind, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, "reembed", 7, 0)
    assert set(seen) == {"5.png"}
    assert installed.collection().model == NEW
    assert installed.collection().beside == {"kept": OLD}
    assert installed.nearest(installed.other_context, 5) == "5.png"
    with pytest.raises(FingerprintMismatch, match=f"use --model {NEW}, or .* reembed {NAME} --model {OLD}"):
        installed.nearest(installed.context, 5)
    check_agreement(installed.context)
    with pytest.raises(AlreadyEmbedded):
        installed.move()


@pytest.mark.parametrize("last", [0, reembedding.MAX_REMAINING])
def test_what_comes_changes_and_goes_meanwhile_is_carried_along(
    installed: Installation, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new item is made in another round, or, with few of them, when writers wait for the switch."""
    monkeypatch.setattr(reembedding, "MAX_REMAINING", last)

    def meanwhile() -> None:
        installed.other.at_work = lambda: None
        installed.put("new", 60)
        installed.put("put", 61)
        installed.delete("3.png")

    installed.other.at_work = meanwhile
    assert installed.move().state == JobState.DONE
    assert [installed.nearest(installed.other_context, seed) for seed in (60, 61)] == ["new", "put"]
    assert "3.png" not in held(installed.context)
    check_agreement(installed.context)


def test_going_back_needs_the_model_only_for_newer_items(installed: Installation) -> None:
    installed.move()
    installed.loaded.clear()
    assert installed.move(back=True).state == JobState.DONE
    assert installed.loaded == []
    assert (installed.collection().model, installed.collection().beside) == (OLD, {"kept": NEW})
    assert installed.nearest(installed.context, 5) == "5.png"
    check_agreement(installed.context)
    assert installed.move(back=True).state == JobState.DONE  # and forth
    assert installed.collection().model == NEW
    put_item(installed.other_context, NAME, "newer", [RawFile("rgb", png(70), "x.png")])
    job = installed.move(back=True)
    assert (job.state, job.counts.indexed) == (JobState.DONE, 1)
    assert installed.nearest(installed.context, 70) == "newer"
    check_agreement(installed.context)


def test_old_vectors_stay_until_they_are_forgotten(installed: Installation) -> None:
    context = installed.context
    installed.move()
    old_space = next(space.id for space in collections_head(context).beside)
    with pytest.raises(OldVectorsKept, match="forget-old"), context.database.write() as session:
        space_switch.build(session, installed.collection(), "third", [])
    with context.database.write() as session:
        space_switch.forget(session, installed.collection())
    backend = LocalBackend(context.database, context.settings)
    remove_unknown(context.database, context.settings, installed.collection().id, backend)
    assert not (context.settings.indexes / str(installed.collection().id) / str(old_space)).exists()
    assert installed.collection().beside == {}
    rebuild(context.database, context.settings, NAME)
    with context.database.read() as session:
        assert not list(log.latest_vectors(session, installed.collection().id, old_space))
    check_agreement(context)
    for forgetting in (space_switch.forget, space_switch.start_return):
        with pytest.raises(NothingKept), context.database.write() as session:
            forgetting(session, installed.collection())


def test_a_cancelled_one_leaves_nothing_and_can_be_begun_again(installed: Installation) -> None:
    context = installed.context

    def cancel() -> None:
        with context.database.write() as session:
            jobs.end_unfinished(session, jobs.list_page(session, None, 1)[0].id, JobState.CANCELLED, "cancelled")

    installed.other.at_work = cancel
    with pytest.raises(JobCancelled):
        installed.move()
    assert (installed.collection().model, installed.collection().beside) == (OLD, {})
    check_agreement(context)
    installed.other.at_work = lambda: None
    assert installed.move().state == JobState.DONE


def test_a_cancelled_way_back_keeps_the_old_vectors(installed: Installation) -> None:
    installed.move()
    job = installed.begin(None, back=True)
    with pytest.raises(ReembedUnderWay, match=f"anyseek jobs cancel {job.id}"):
        installed.begin(None)
    with installed.context.database.write() as session:
        jobs.end_unfinished(session, job.id, JobState.CANCELLED, "cancelled")
    assert installed.collection().beside == {"kept": OLD}


def test_in_between_everything_agrees_and_another_model_is_refused(installed: Installation) -> None:
    installed.begin(None)
    assert installed.collection().beside == {"building": NEW}
    check_agreement(installed.context)
    with installed.context.database.write() as session:
        with pytest.raises(ReembedUnderWay, match=NEW):
            reembedding.open_job(session, installed.collection(), "third", [], None, lambda _: False)
        with pytest.raises(NothingBuilt):
            reembedding.switch_without_failed(session, installed.collection())


def test_what_cannot_be_made_keeps_the_old_model_until_it_is_left_out(installed: Installation) -> None:
    context = installed.context
    (installed.folder / "2.png").unlink()
    (installed.folder / "4.png").write_bytes(png(99))
    job = installed.move()
    assert job.state == JobState.FAILED
    assert f"anyseek collections switch {NAME}" in str(job.error)
    with context.database.read() as session:
        refused = {one.key: one.code for one in ledger.list_failures(session, job.id)}
    assert refused == {"2.png": "asset-not-found", "4.png": "original-changed"}
    assert installed.collection().model == OLD
    check_agreement(context)
    with context.database.write() as session:
        assert reembedding.switch_without_failed(session, installed.collection()) == 2
    assert installed.collection().model == NEW
    assert verify(context.database, context.settings) == []
    assert len(items_left_out(context.database)) == 2
    index(installed.other_context, installed.folder)
    assert len(items_left_out(context.database)) == 1
    assert installed.nearest(installed.other_context, 99) == "4.png"


def test_an_item_at_which_the_model_fails_is_found_by_running_it_alone(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = np.asarray(noise(4))

    def failing(samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        if any(np.array_equal(sample.values["rgb"], bad) for sample in samples):
            raise RuntimeError("not that one")
        return installed.other.embed(samples, spaces)

    monkeypatch.setattr(installed.other, "embed_gallery", failing)
    job = installed.move()
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.FAILED, 6, 1)
    with installed.context.database.read() as session:
        (failure,) = ledger.list_failures(session, job.id)
    assert (failure.key, failure.code) == ("4.png", MODEL_FAILED)
    assert failure.reason == "the model failed for it: not that one"


def test_one_that_is_told_to_stop_gives_back_what_it_has_leased_ahead(installed: Installation) -> None:
    context = installed.context
    small = replace(context.settings, work=replace(context.settings.work, inputs_per_batch=4))
    with Owner(context.database, small) as owner:
        installed.other.at_work = owner.stop
        job = installed.begin(owner)
        with pytest.raises(JobStopped):
            installed.run(job, owner)
    query = select(LedgerRow.state, LedgerRow.attempts).where(LedgerRow.job_id == job.id).order_by(LedgerRow.id)
    with context.database.read() as session:
        rows = session.execute(query).all()
    assert [tuple(row) for row in rows] == [(ledger.DONE, 1)] * 4 + [(ledger.PENDING, 0)] * 3
    installed.other.at_work = lambda: None
    assert installed.move().state == JobState.DONE
    check_agreement(context)


def test_one_that_failed_goes_on_with_what_is_there(installed: Installation) -> None:
    (installed.folder / "2.png").unlink()
    installed.move()
    (installed.folder / "2.png").write_bytes(png(2))
    job = installed.move()
    assert (job.state, job.counts.indexed) == (JobState.DONE, 1)
    assert ensure_collection(installed.other_context, NAME).model == NEW
    check_agreement(installed.context)


def collections_head(context: IndexerContext) -> Head:
    with context.database.read() as session:
        return collections.head(session, NAME)
