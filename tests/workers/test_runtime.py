"""The composition root: what is opened when, with which model."""

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from anyseek.indexer.errors import ModelMismatch, SourceGone
from anyseek.indexer.indexing import ensure_collection
from anyseek.model.errors import BadDevice, UnknownModel
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.tables import SpaceRow
from anyseek.search.errors import CollectionNotFound, FingerprintMismatch
from anyseek.search.settings import DEFAULT_MODEL, Settings
from anyseek.workers.runtime import Runtime
from tests.indexer.pictures import folder_of


def test_the_model_is_that_of_the_collection(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "a/b")
    with Runtime.open_for(settings, "c", None) as runtime:
        assert runtime.model == DEFAULT_MODEL
    assert (tmp_path / "a/b/catalogue.sqlite").is_file(), "a new data directory is made"
    with Runtime.open_for(settings, "c", "hashing") as runtime:
        ensure_collection(runtime.context(), "c")
    with Runtime.open_for(settings, "c", None) as runtime:
        assert runtime.model == "hashing"
    with pytest.raises(ModelMismatch):
        Runtime.open_for(settings, "c", "4m-tiny")


def test_a_collection_does_not_remember_the_device_of_its_model(tmp_path: Path) -> None:
    settings = Settings(tmp_path, device="auto")
    with Runtime.open_for(settings, "c", "hashing:device=cpu") as runtime:
        assert (runtime.model, runtime.settings.device) == ("hashing", "cpu")
        assert ensure_collection(runtime.context(), "c").model == "hashing"
    with Runtime.open_for(settings, "c", "hashing:device=cpu") as runtime:
        assert runtime.context_of_collection("c").embedder.name == "hashing"
        with pytest.raises(BadDevice, match="set ANYSEEK_DEVICE"):
            runtime.submit_reembed("c", "4m-tiny:device=cuda")
    with Runtime.open_for(settings, "c", None) as runtime:
        assert runtime.settings.device == "auto"


def test_the_model_is_loaded_once_and_late(tmp_path: Path) -> None:
    with Runtime.open(Settings(tmp_path), "psychic") as runtime, pytest.raises(UnknownModel):
        runtime.embedder  # noqa: B018 - loading is what is tested
    with Runtime.open(Settings(tmp_path), "hashing") as runtime:
        found = []
        threads = [threading.Thread(target=lambda: found.append(runtime.embedder)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert all(embedder is found[0] for embedder in found)
        assert runtime.engine.embedder is found[0]


def test_an_index_job_is_submitted(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", [0])
    with Runtime.open(Settings(tmp_path / "home"), "hashing") as runtime:
        with pytest.raises(CollectionNotFound):
            runtime.submit_index("c", photos, prune=False)
        ensure_collection(runtime.context(), "c")
        with pytest.raises(SourceGone):
            runtime.submit_index("c", tmp_path / "nothing", prune=False)
        job_id = runtime.submit_index("c", photos, prune=False)
        while runtime.queue.status(job_id).active:
            time.sleep(0.05)
        job = runtime.queue.status(job_id)
    assert (job.state, job.counts.indexed) == (JobState.DONE, 1)


def test_no_job_for_a_collection_of_other_weights(tmp_path: Path) -> None:
    with Runtime.open(Settings(tmp_path / "home"), "hashing") as runtime:
        ensure_collection(runtime.context(), "c")
        with runtime.database.write() as session:
            session.execute(update(SpaceRow).values(fingerprint="of other weights"))
        with pytest.raises(FingerprintMismatch):
            runtime.submit_index("c", tmp_path, prune=False)
