"""Tuning a collection's queries on its own items: what is fitted and kept, and what it belongs to."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sqlalchemy import select, update

from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.tuning import NothingToTune, clear_tuning, tune
from anyseek.model.hashing import DIMENSION, SPACE, HashingEmbedder
from anyseek.model.modalities.edge_detection import random_canny
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.tables import SpaceRow, TuningRow
from anyseek.search.errors import BadInput, CollectionNotFound, FingerprintMismatch
from anyseek.search.types import Part, Query, Tuning
from anyseek.search.upkeep.verify import verify
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


SCENES, ASKED = 60, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(SCENES):
        scene(number).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A data directory with the scenes, which each test copies."""
    home = tmp_path_factory.mktemp("indexed") / "home"
    with installation(home, Leaning()) as context:
        index(context, folder)
    return home


@pytest.fixture
def context(tmp_path: Path, indexed: Path) -> Iterator[IndexerContext]:
    shutil.copytree(indexed, tmp_path / "home", copy_function=shutil.copyfile)
    with installation(tmp_path / "home", Leaning()) as context:
        yield context


def places(context: IndexerContext) -> list[int]:
    """The rank of each scene that is asked for by its own edges, 99 if it is not found."""

    def place(number: int) -> int:
        drawing = random_canny(np.asarray(scene(number)), np.random.default_rng(1000 + number))
        hits = context.engine.query(NAME, Query((Part("canny_edge", drawing),), k=SCENES)).hits
        return next((hit.rank for hit in hits if hit.key.startswith(f"{number:02}")), 99)

    return [place(number) for number in range(ASKED)]


def held(context: IndexerContext) -> tuple[Tuning, ...]:
    with context.database.read() as session:
        return collections.get(session, NAME).spaces[SPACE].tunings


def test_queries_find_more_in_every_process_and_reset_undoes_it(tmp_path: Path, context: IndexerContext) -> None:
    with installation(tmp_path / "home", Leaning()) as other:
        before = places(other)
        (edges,) = tune(context, NAME, dry_run=True).improvements
        assert held(context) == (), "a dry run changes nothing"
        tuned = tune(context, NAME)
        assert (edges.modality, edges.queries, tuned.unreadable) == ("canny_edge", SCENES, 0)
        assert edges.after.at_10 > edges.before.at_10
        (kept,) = held(context)
        assert (kept.before, kept.after, kept.queries) == (edges.before.at_10, edges.after.at_10, SCENES)
        assert sum(places(context)) < sum(before)
        assert places(other) == places(context)
        clear_tuning(context.database, NAME)
        assert held(context) == ()
        assert places(other) == before


def test_originals_that_are_gone_are_counted_and_left_out(
    context: IndexerContext, folder: Path, tmp_path: Path
) -> None:
    for number in range(5):
        (folder / f"{number:02}.png").rename(tmp_path / f"{number:02}.png")
    tuned = tune(context, NAME, dry_run=True)
    for number in range(5):
        (tmp_path / f"{number:02}.png").rename(folder / f"{number:02}.png")
    assert (tuned.items, tuned.unreadable, tuned.trials[0].queries) == (SCENES, 5, SCENES - 5)


def test_a_tuning_of_other_weights_or_that_is_damaged_is_never_applied(context: IndexerContext) -> None:
    untuned = places(context)
    mean = np.full(DIMENSION, 9, np.float32)
    with context.database.write() as session:
        (space,) = collections.head(session, NAME).spaces
        now = collections.get(session, NAME).created_at
        of_others = Tuning("canny_edge", "other weights", mean, SCENES, 0.0, 1.0, now)
        collections.replace_tunings(session, space.id, [of_others])
    assert (held(context), places(context)) == ((), untuned)
    tune(context, NAME)
    assert places(context) != untuned
    with context.database.write() as session:
        stored = session.scalars(select(TuningRow.mean)).one()
        session.execute(update(TuningRow).values(mean=bytes([stored[0] ^ 64, *stored[1:]])))
        session.execute(update(SpaceRow).values(tuning_version=SpaceRow.tuning_version + 1))  # read it again
    (problem,) = verify(context.database, context.settings)
    assert "the tuning of canny_edge queries is damaged and not used" in problem.what
    assert places(context) == untuned
    tune(context, NAME)
    assert verify(context.database, context.settings) == []


def test_what_cannot_be_tuned_is_refused(tmp_path: Path, context: IndexerContext) -> None:
    with installation(tmp_path / "home", Mirrored()) as other, pytest.raises(FingerprintMismatch, match="mirrored"):
        tune(other, NAME)
    with context.database.write() as session:
        collections.create(session, "empty", "hashing", context.embedder.spaces.values())
    with pytest.raises(NothingToTune, match="fewer than 20 have a picture"):
        tune(context, "empty")
    with pytest.raises(BadInput, match="20 to 4,096 items, not 5"):
        tune(context, NAME, most=5)
    with pytest.raises(CollectionNotFound):
        tune(context, "gone")
