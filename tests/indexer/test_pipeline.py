"""Bringing a collection in line with a folder: what goes in, stays, changes and goes."""

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

from anyseek.indexer.errors import JobCancelled, JobStopped, ModelMismatch, SourceGone
from anyseek.indexer.indexing import IndexRun, check_model, open_collection, open_job
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import Owner, Tools
from anyseek.indexer.samples import RawFile
from anyseek.indexer.sources.opening import open_source
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections, jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.errors import FingerprintMismatch
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query
from tests.indexer.harness import (
    NAME,
    Counting,
    Trapped,
    check_agreement,
    failures,
    given,
    held,
    index,
    installation,
    numbers,
)
from tests.indexer.pictures import encoded, folder_of, jpeg, noise, png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(5))


def test_a_folder_goes_in_and_is_found(tools: Tools, photos: Path) -> None:
    (photos / "notes.txt").write_text("words")
    (photos / "broken.jpg").write_bytes(jpeg(9)[:200])
    progress = Counting()
    job = index(tools, photos, progress=progress)
    assert (job.state, numbers(job), job.ignored) == (JobState.DONE, (5, 0, 1, 0), 1)
    assert (progress.found, progress.waiting, progress.done) == (6, 6, 6)
    assert failures(tools, job)["broken.jpg"].code == "broken-picture"
    query = Query((Part("rgb", np.asarray(noise(3))),), k=1)
    hit = tools.engine.query(NAME, query).hits[0]
    assert (hit.key, hit.score) == ("3.png", pytest.approx(1, abs=1e-5))
    check_agreement(tools)


def test_originals_stay_and_thumbnails_are_kept(tools: Tools, photos: Path) -> None:
    (photos / "large.jpg").write_bytes(jpeg(1, 900, 600))
    index(tools, photos)
    item = held(tools)["large.jpg"]
    original, small = item.assets["rgb"], item.assets["thumbnail"]
    assert (original.stored, original.location, original.media_type) == (False, str(photos / "large.jpg"), "image/jpeg")
    assert small.stored
    assert Image.open(io.BytesIO(tools.assets.read(small))).size == (256, 171)


def test_only_what_changed_is_done_again(tools: Tools, photos: Path) -> None:
    index(tools, photos)
    before = held(tools)
    assert numbers(index(tools, photos)) == (0, 5, 0, 0)
    os.utime(photos / "0.png")
    (photos / "1.png").write_bytes(png(101))
    (photos / "2.json").write_text('{"caption": "now it has words"}')
    (photos / "9.png").write_bytes(png(9))
    assert numbers(index(tools, photos)) == (3, 3, 0, 0)
    after = held(tools)
    assert {key for key in after if key in before and after[key] != before[key]} == {"1.png", "2.png"}
    assert after["1.png"].id == before["1.png"].id
    assert after["2.png"].caption == "now it has words"
    check_agreement(tools)


def test_sidecars_and_modalities(tools: Tools, photos: Path) -> None:
    (photos / "maps").mkdir()
    depth = encoded(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)), "PNG")
    (photos / "maps/0.png").write_bytes(depth)
    (photos / "maps/0.txt").write_text("a text in a file")
    modalities = {"depth": "maps/0.png", "caption": "maps/0.txt", "sketch": "maps/s.png"}
    (photos / "maps/s.png").write_bytes(encoded(Image.new("L", (9, 9), 255), "PNG"))
    said = {"key": "zero", "attributes": {"year": 1987}, "modalities": modalities}
    (photos / "0.json").write_text(json.dumps(said))
    job = index(tools, photos)
    assert numbers(job) == (5, 0, 0, 0)
    item = held(tools)["zero"]
    assert (item.caption, given(item)) == ("a text in a file", {"year": 1987})
    assert set(item.assets) == {"rgb", "thumbnail", "depth", "caption", "canny_edge"}
    (photos / "maps/0.png").write_bytes(depth[:-40])
    job = index(tools, photos)
    assert numbers(job) == (0, 4, 1, 0)
    assert failures(tools, job)["0.png"].reason.startswith("maps/0.png is a damaged picture")
    check_agreement(tools)


def test_prune_takes_out_what_is_gone_and_nothing_else(tools: Tools, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.png").write_bytes(png(50))
    index(tools, photos)
    index(tools, other)
    put_item(tools, NAME, "by hand", [RawFile("rgb", png(60), "upload")])
    (photos / "0.png").unlink()
    (photos / "1.png").write_bytes(b"broken now")
    (photos / "2.json").write_text('{"key": "renamed"}')
    (photos / "3.json").write_text("{")
    assert numbers(index(tools, photos)) == (1, 1, 2, 0)
    assert set(held(tools)) == {"0.png", "1.png", "2.png", "3.png", "4.png", "renamed", "x.png", "by hand"}
    assert numbers(index(tools, photos, prune=True)) == (0, 2, 2, 2)
    assert set(held(tools)) == {"1.png", "3.png", "4.png", "renamed", "x.png", "by hand"}
    check_agreement(tools)


def test_a_folder_that_vanishes_midway_fails_the_job(tools: Tools, photos: Path) -> None:
    index(tools, photos)
    for number in range(5, 200):
        (photos / f"{number}.png").write_bytes(png(number))

    class Remover(Counting):
        def settled(self, inputs: int) -> None:
            shutil.rmtree(photos, ignore_errors=True)

    with pytest.raises(SourceGone, match="is gone"):
        index(tools, photos, prune=True, progress=Remover())
    with tools.database.read() as session:
        job = jobs.list_page(session, None, 1)[0]
    assert job.state == JobState.FAILED
    assert "is gone" in str(job.error)
    assert set(held(tools)) >= {f"{number}.png" for number in range(5)}
    check_agreement(tools)


def test_a_file_that_vanishes_is_quarantined(tools: Tools, photos: Path) -> None:
    class Remover(Counting):
        def started(self, inputs: int) -> None:
            (photos / "2.png").unlink()

    job = index(tools, photos, progress=Remover())
    assert numbers(job) == (4, 0, 1, 0)
    assert failures(tools, job)["2.png"].code == "input-vanished"


def test_keys_held_elsewhere_are_quarantined(tools: Tools, photos: Path, tmp_path: Path) -> None:
    index(tools, photos)
    put_item(tools, NAME, "mine.png", [RawFile("rgb", png(60), "upload")])
    other = tmp_path / "other"
    other.mkdir()
    for name in ("0.png", "mine.png", "new.png"):
        (other / name).write_bytes(png(70))
    job = index(tools, other)
    assert numbers(job) == (1, 0, 2, 0)
    assert {one.code for one in failures(tools, job).values()} == {"key-held-elsewhere"}
    assert held(tools)["0.png"].assets["rgb"].location == str(photos / "0.png")
    assert numbers(index(tools, photos)) == (0, 5, 0, 0)


def test_one_key_for_two_files(tools: Tools, photos: Path) -> None:
    (photos / "3.json").write_text('{"key": "1.png"}')
    job = index(tools, photos)
    assert numbers(job) == (4, 0, 1, 0)
    assert "has the key '1.png', which 1.png has already" in failures(tools, job)["3.png"].reason


def test_names_that_are_no_text(tools: Tools, photos: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9 \xc3\xbc.png"))
    path.write_bytes(png(40))
    (photos / "mit Leerzeichen 🍎.png").write_bytes(png(41))
    assert numbers(index(tools, photos)) == (7, 0, 0, 0)
    item = held(tools)["caf\\xe9 ü.png"]
    assert tools.assets.read(item.assets["rgb"]) == png(40)
    assert "mit Leerzeichen 🍎.png" in held(tools)
    path.write_bytes(b"?")
    (photos / "0.png").unlink()
    assert numbers(index(tools, photos, prune=True)) == (0, 5, 1, 1)
    check_agreement(tools)


def test_links_out_of_the_folder_are_quarantined(tools: Tools, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    (photos / "link.png").symlink_to(tmp_path / "secret.png")
    (photos / "loop").symlink_to(photos)
    os.mkfifo(photos / "pipe.png")
    job = index(tools, photos)
    assert numbers(job) == (5, 0, 2, 0)
    assert {uri: one.code for uri, one in failures(tools, job).items()} == {
        "link.png": "outside-folder",
        "pipe.png": "input-unreadable",
    }


def test_limits_hold_for_files(photos: Path, tmp_path: Path) -> None:
    (photos / "big.png").write_bytes(png(1, 60, 60))
    (photos / "heavy.png").write_bytes(png(2) + b"x" * 50_000)
    with installation(tmp_path / "home", limits=Limits(pixels=24 * 16, bytes_per_file=40_000)) as tools:
        job = index(tools, photos)
        assert numbers(job) == (5, 0, 2, 0)
        codes = {uri: one.code for uri, one in failures(tools, job).items()}
        assert codes == {"big.png": "too-many-pixels", "heavy.png": "too-many-bytes"}


def test_the_model_must_be_that_of_the_collection(tools: Tools) -> None:
    collection = open_collection(tools, NAME)
    with pytest.raises(ModelMismatch, match="made with the model hashing"):
        check_model(collection, "4m-tiny")
    other_weights = HashingEmbedder()
    other_weights.spaces = {"hashing": replace(other_weights.spaces["hashing"], fingerprint="0" * 64)}
    with pytest.raises(FingerprintMismatch, match="other weights of hashing"):
        open_collection(replace(tools, embedder=other_weights), NAME)


def test_an_input_at_which_the_model_fails_is_quarantined(photos: Path, tmp_path: Path) -> None:
    class Failing(Trapped):
        def spring(self) -> None:
            raise ValueError("too red")

    (photos / "red.png").write_bytes(encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG"))
    with installation(tmp_path / "home", Failing()) as tools:
        job = index(tools, photos)
        assert numbers(job) == (5, 0, 1, 0)
        assert failures(tools, job)["red.png"].reason == "the model failed at it: too red"


def test_vectors_without_numbers_are_never_written(photos: Path, tmp_path: Path) -> None:
    class Broken(Trapped):
        def embed_gallery(self, samples: Any, spaces: Any) -> dict[str, FloatArray]:
            return {space: rows * np.float32("nan") for space, rows in super().embed(samples, spaces).items()}

    with installation(tmp_path / "home", Broken()) as tools:
        assert numbers(index(tools, photos)) == (0, 0, 5, 0)
        assert held(tools) == {}


def test_a_range_that_somebody_else_took_over_is_dropped(photos: Path, tmp_path: Path) -> None:
    class Sleeper(Trapped):
        """While the model is at work the leases run out and another worker takes the inputs, then dies."""

        slept = False

        def embed_gallery(self, samples: Any, spaces: Any) -> dict[str, FloatArray]:
            if not self.slept:
                self.slept = True
                with tools.database.write() as session:
                    session.execute(update(LedgerRow).values(owner="another", fence=LedgerRow.fence + 1))
            return super().embed_gallery(samples, spaces)

    progress = Counting()
    with installation(tmp_path / "home", Sleeper()) as tools:
        assert numbers(index(tools, photos, progress=progress)) == (5, 0, 0, 0)
        assert progress.done == 5, "the range that was lost does not count"
        assert all(item.revision == 1 for item in held(tools).values())
        check_agreement(tools)


def test_a_run_that_is_told_to_stop_ends_at_its_next_step_and_another_goes_on(tools: Tools, photos: Path) -> None:
    for number in range(5, 150):
        (photos / f"{number}.png").write_bytes(png(number))
    source, collection = open_source(tools.settings, photos), open_collection(tools, NAME)
    with Owner(tools.database, tools.settings) as owner:

        class Stopper(Counting):
            def settled(self, inputs: int) -> None:
                owner.stop()

        job = open_job(collection, source, owner, prune=False)
        with pytest.raises(JobStopped):
            IndexRun(lambda: tools, source, owner, Stopper()).run(job)
    done = len(held(tools))
    assert 0 < done < 150
    assert numbers(index(tools, photos)) == (150 - done, done, 0, 0)
    check_agreement(tools)


def test_a_job_can_be_cancelled_from_elsewhere(tools: Tools, photos: Path) -> None:
    class Canceller(Counting):
        def started(self, inputs: int) -> None:
            with tools.database.write() as session:
                jobs.give_up(session, jobs.list_page(session, None, 1)[0].id, JobState.CANCELLED, "cancelled")

    with pytest.raises(JobCancelled):
        index(tools, photos, progress=Canceller())
    assert held(tools) == {}


def test_a_collection_that_is_deleted_midway_ends_the_run(tools: Tools, photos: Path) -> None:
    class Deleter(Counting):
        def started(self, inputs: int) -> None:
            with tools.database.write() as session:
                collections.delete(session, NAME)

    with pytest.raises(Exception, match="'c' was deleted while job") as caught:
        index(tools, photos, progress=Deleter())
    assert caught.value.code == "job-deleted"  # type: ignore[attr-defined]
