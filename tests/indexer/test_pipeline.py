"""Bringing a collection in line with a folder: what goes in, stays, changes and goes."""

import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

from anyseek.indexer.errors import JobCancelled, JobStopped, SourceGone
from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.pipeline import MODEL_FAILED
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.samples import RawFile
from anyseek.indexer.sources.opening import open_source
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.catalogue import collections, jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.settings import Limits, Work
from anyseek.search.types import Part, Query
from tests.indexer.harness import (
    NAME,
    Counting,
    check_agreement,
    failures,
    given,
    held,
    index,
    installation,
    numbers,
)
from tests.indexer.pictures import encoded, folder_of, jpeg, noise, png, write
from tests.indexer.sources_kit import DEPTH


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(5))


def in_small_batches(context: IndexerContext) -> IndexerContext:
    return replace(context, settings=replace(context.settings, work=Work(inputs_per_batch=8)))


def test_a_folder_goes_in_and_is_found(context: IndexerContext, photos: Path) -> None:
    write(photos, {"notes.txt": "words", "broken.jpg": jpeg(9)[:200], "large.jpg": jpeg(1, 900, 600)})
    progress = Counting()
    job = index(context, photos, progress=progress)
    assert (job.state, numbers(job), job.ignored) == (JobState.DONE, (6, 0, 1, 0), 1)
    assert (progress.found, progress.waiting, progress.done) == (7, 7, 7)
    assert failures(context, job)["broken.jpg"].code == "broken-picture"
    hit = context.engine.query(NAME, Query((Part("rgb", np.asarray(noise(3))),), k=1)).hits[0]
    assert (hit.key, hit.score) == ("3.png", pytest.approx(1, abs=1e-5))
    assets = held(context)["large.jpg"].assets
    original, small = assets["rgb"], assets["thumbnail"]
    assert (original.stored, original.location, original.media_type) == (False, str(photos / "large.jpg"), "image/jpeg")
    assert small.stored
    assert Image.open(io.BytesIO(context.assets.read(small))).size == (256, 171)
    check_agreement(context)


def test_only_what_changed_is_done_again(context: IndexerContext, photos: Path) -> None:
    index(context, photos)
    before = held(context)
    assert numbers(index(context, photos)) == (0, 5, 0, 0)
    os.utime(photos / "0.png")
    write(photos, {"1.png": 101, "2.json": {"caption": "now it has words"}, "9.png": 9})
    assert numbers(index(context, photos)) == (3, 3, 0, 0)
    after = held(context)
    assert {key for key in after if key in before and after[key] != before[key]} == {"1.png", "2.png"}
    assert after["1.png"].id == before["1.png"].id
    assert after["2.png"].caption == "now it has words"
    check_agreement(context)


def test_sidecars_and_modalities(context: IndexerContext, photos: Path) -> None:
    modalities = {"depth": "maps/0.png", "caption": "maps/0.txt", "sketch": "maps/s.png"}
    said = {"key": "zero", "attributes": {"year": 1987}, "modalities": modalities}
    sketch = encoded(Image.new("L", (9, 9), 255), "PNG")
    write(photos, {"maps/0.png": DEPTH, "maps/0.txt": "a text in a file", "maps/s.png": sketch, "0.json": said})
    job = index(context, photos)
    assert numbers(job) == (5, 0, 0, 0)
    item = held(context)["zero"]
    assert (item.caption, given(item)) == ("a text in a file", {"year": 1987})
    assert set(item.assets) == {"rgb", "thumbnail", "depth", "caption", "canny_edge"}
    (photos / "maps/0.png").write_bytes(DEPTH[:-40])
    job = index(context, photos)
    assert numbers(job) == (0, 4, 1, 0)
    assert failures(context, job)["0.png"].reason.startswith("maps/0.png is a damaged picture")
    check_agreement(context)


def test_prune_takes_out_what_is_gone_and_nothing_else(context: IndexerContext, photos: Path, tmp_path: Path) -> None:
    index(context, photos)
    index(context, write(tmp_path / "other", {"x.png": 50}))
    put_item(context, NAME, "by hand", [RawFile("rgb", png(60), "upload")])
    (photos / "0.png").unlink()
    write(photos, {"1.png": b"broken now", "2.json": {"key": "renamed"}, "3.json": "{"})
    assert numbers(index(context, photos)) == (1, 1, 2, 0)
    assert set(held(context)) == {"0.png", "1.png", "2.png", "3.png", "4.png", "renamed", "x.png", "by hand"}
    assert numbers(index(context, photos, prune=True)) == (0, 2, 2, 2)
    assert set(held(context)) == {"1.png", "3.png", "4.png", "renamed", "x.png", "by hand"}
    check_agreement(context)


def test_a_folder_that_vanishes_midway_fails_the_job(context: IndexerContext, photos: Path) -> None:
    index(context, photos)
    write(photos, {f"{number}.png": number for number in range(5, 40)})

    class Remover(Counting):
        def settled(self, inputs: int) -> None:
            shutil.rmtree(photos, ignore_errors=True)

    with pytest.raises(SourceGone, match="is gone"):
        index(in_small_batches(context), photos, prune=True, progress=Remover())
    with context.database.read() as session:
        job = jobs.list_page(session, None, 1)[0]
    assert job.state == JobState.FAILED
    assert "is gone" in str(job.error)
    assert set(held(context)) >= {f"{number}.png" for number in range(5)}
    check_agreement(context)


def test_a_file_that_vanishes_is_quarantined(context: IndexerContext, photos: Path) -> None:
    class Remover(Counting):
        def started(self, inputs: int) -> None:
            (photos / "2.png").unlink()

    job = index(context, photos, progress=Remover())
    assert numbers(job) == (4, 0, 1, 0)
    assert failures(context, job)["2.png"].code == "input-vanished"


def test_names_that_are_no_text(context: IndexerContext, photos: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9 \xc3\xbc.png"))
    path.write_bytes(png(40))
    (photos / "mit Leerzeichen 🍎.png").write_bytes(png(41))
    assert numbers(index(context, photos)) == (7, 0, 0, 0)
    item = held(context)["caf\\xe9 ü.png"]
    assert context.assets.read(item.assets["rgb"]) == png(40)
    assert "mit Leerzeichen 🍎.png" in held(context)
    path.write_bytes(b"?")
    (photos / "0.png").unlink()
    assert numbers(index(context, photos, prune=True)) == (0, 5, 1, 1)
    check_agreement(context)


def test_links_out_of_the_folder_are_quarantined(context: IndexerContext, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    (photos / "link.png").symlink_to(tmp_path / "secret.png")
    (photos / "loop").symlink_to(photos)
    os.mkfifo(photos / "pipe.png")
    job = index(context, photos)
    assert numbers(job) == (5, 0, 2, 0)
    assert {uri: one.code for uri, one in failures(context, job).items()} == {
        "link.png": "outside-folder",
        "pipe.png": "input-unreadable",
    }


def test_limits_hold_for_files(photos: Path, tmp_path: Path) -> None:
    write(photos, {"big.png": png(1, 60, 60), "heavy.png": png(2) + b"x" * 50_000})
    with installation(tmp_path / "home", limits=Limits(pixels=24 * 16, bytes_per_file=40_000)) as context:
        job = index(context, photos)
        assert numbers(job) == (5, 0, 2, 0)
        codes = {uri: one.code for uri, one in failures(context, job).items()}
        assert codes == {"big.png": "too-many-pixels", "heavy.png": "too-many-bytes"}


class Failing(HashingEmbedder):
    """Raises at a picture that is red, and makes no numbers of black ones, nothing of blue ones."""

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        corners = [np.asarray(sample.values["rgb"])[0, 0].tolist() for sample in samples]
        if [255, 0, 0] in corners:
            raise ValueError("too red")
        made = super().embed_gallery(samples, spaces)
        for vectors in made.values():
            vectors[[corner == [0, 0, 0] for corner in corners]] = np.nan
            vectors[[corner == [0, 0, 255] for corner in corners]] = 0
        return made


def test_inputs_at_which_the_model_fails_are_quarantined(photos: Path, tmp_path: Path) -> None:
    for colour in ("red", "black", "blue"):
        write(photos, {f"{colour}.png": encoded(Image.new("RGB", (8, 8), colour), "PNG")})
    with installation(tmp_path / "home", Failing()) as context:
        job = index(context, photos)
        assert numbers(job) == (5, 0, 3, 0)
        reasons = {uri: (one.code, one.reason) for uri, one in failures(context, job).items()}
        assert reasons["red.png"] == (MODEL_FAILED, "the model failed for it: too red")
        assert reasons["black.png"] == (
            MODEL_FAILED,
            "the model failed for it: its vector has values that are not finite",
        )
        assert reasons["blue.png"][0] == "bad-input"
        check_agreement(context)


def test_a_range_that_somebody_else_took_over_is_dropped(photos: Path, tmp_path: Path) -> None:
    class Sleeper(HashingEmbedder):
        """While the model is at work the leases run out and another worker takes the inputs, then dies."""

        slept = False

        def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
            if not self.slept:
                self.slept = True
                with context.database.write() as session:
                    session.execute(update(LedgerRow).values(owner="another", fence=LedgerRow.fence + 1))
            return super().embed_gallery(samples, spaces)

    progress = Counting()
    with installation(tmp_path / "home", Sleeper()) as context:
        assert numbers(index(context, photos, progress=progress)) == (5, 0, 0, 0)
        assert progress.done == 5, "the range that was lost does not count"
        assert all(item.revision == 1 for item in held(context).values())
        check_agreement(context)


def test_a_run_that_is_told_to_stop_ends_at_its_next_step_and_another_goes_on(
    context: IndexerContext, photos: Path
) -> None:
    write(photos, {f"{number}.png": number for number in range(5, 40)})
    source, collection = open_source(context.settings, photos), ensure_collection(context, NAME)
    with Owner(context.database, context.settings) as owner:

        class Stopper(Counting):
            def settled(self, inputs: int) -> None:
                owner.stop()

        job = open_job(collection, source, owner, prune=False)
        with pytest.raises(JobStopped):
            IndexRun(lambda: in_small_batches(context), source, owner, Stopper()).run(job)
    done = len(held(context))
    assert 0 < done < 40
    assert numbers(index(context, photos)) == (40 - done, done, 0, 0)
    check_agreement(context)


def test_a_job_can_be_cancelled_from_elsewhere(context: IndexerContext, photos: Path) -> None:
    class Canceller(Counting):
        def started(self, inputs: int) -> None:
            with context.database.write() as session:
                jobs.end_unfinished(session, jobs.list_page(session, None, 1)[0].id, JobState.CANCELLED, "cancelled")

    with pytest.raises(JobCancelled):
        index(context, photos, progress=Canceller())
    assert held(context) == {}


def test_a_collection_that_is_deleted_midway_ends_the_run(context: IndexerContext, photos: Path) -> None:
    class Deleter(Counting):
        def started(self, inputs: int) -> None:
            with context.database.write() as session:
                collections.delete(session, NAME)

    with pytest.raises(Exception, match="'c' was deleted while job") as caught:
        index(context, photos, progress=Deleter())
    assert caught.value.code == "job-deleted"  # type: ignore[attr-defined]
