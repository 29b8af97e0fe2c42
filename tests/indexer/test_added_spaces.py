"""Items come and go in a collection of before the model had another space, until a re-embedding adds that space."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete

from anyseek.indexer.put import put_item, rebuild_items
from anyseek.indexer.reembed import ReembedRun
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.samples import RawFile
from anyseek.indexer.tuning import tune
from anyseek.model.colours.space import COLOURS, colour_space
from anyseek.model.hashing import SPACE, HashingEmbedder
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.catalogue import collections, reembedding
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.engine import SearchEngine
from anyseek.search.query.means import MIN_QUERIES
from anyseek.search.types import Part, Query, Results
from anyseek.search.upkeep.rebuild import rebuild
from tests.indexer.harness import NAME, Counting, check_agreement, held, index, installation, numbers, reembed_context
from tests.indexer.pictures import folder_of, png

PICTURES = 5


class WithColours(HashingEmbedder):
    """The hashing model with the space of colours, which answers palettes."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = colour_space(instead=SPACE)
        self.spaces = {**self.spaces, COLOURS: self.colours.space}

    def default_space(self, modality: str) -> str:
        return COLOURS if modality == "color_palette" else super().default_space(modality)

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return self._both(samples, spaces, gallery=False)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        return self._both(samples, spaces, gallery=True)

    def _both(self, samples: Sequence[Sample], spaces: Sequence[str], gallery: bool) -> dict[str, FloatArray]:
        found = super().embed(samples, [space for space in spaces if space != COLOURS])
        return found | ({COLOURS: self.colours.vectors(samples, gallery)} if COLOURS in spaces else {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(PICTURES))


@pytest.fixture
def context(tmp_path: Path, folder: Path) -> Iterator[IndexerContext]:
    """An installation whose collection was made before its model had colours."""
    with installation(tmp_path / "home") as before:
        index(before, folder)
        embedder = WithColours()
        engine = SearchEngine(before.database, before.settings, embedder)
        yield IndexerContext(before.settings, before.database, before.assets, embedder, engine)


def by_palette(context: IndexerContext) -> Results:
    palette = np.array([[200, 30, 30]], np.uint8)
    return context.engine.query(NAME, Query((Part("color_palette", palette),), k=PICTURES))


def test_it_is_indexed_asked_and_mended_without_the_space_that_it_lacks(context: IndexerContext, folder: Path) -> None:
    (folder / "new.png").write_bytes(png(100))
    assert numbers(index(context, folder)) == (1, PICTURES, 0, 0)
    put_item(context, NAME, "put", [RawFile("rgb", png(101), "put.png")])
    assert by_palette(context).space == SPACE
    lost = held(context)["3.png"]
    with context.database.write() as session:
        session.execute(delete(LogRow).where(LogRow.item_id == lost.id))
    assert rebuild(context.database, context.settings, NAME, partial(rebuild_items, lambda: context)) == []
    assert len(held(context)) == PICTURES + 2
    check_agreement(context)


def test_it_is_tuned_in_the_spaces_that_it_has(context: IndexerContext) -> None:
    for seed in range(MIN_QUERIES):
        files = [RawFile("rgb", png(seed), "put.png"), RawFile("color_palette", b"#c03020,#%06x" % seed, "put.txt")]
        put_item(context, NAME, f"put {seed}", files)
    trials = tune(context, NAME, dry_run=True).trials
    assert {(trial.modality, trial.space) for trial in trials} == {("canny_edge", SPACE), ("color_palette", SPACE)}


def test_a_reembedding_with_the_same_model_adds_the_space(context: IndexerContext) -> None:
    with Owner(context.database, context.settings) as owner:
        with context.database.write() as session:
            spaces = context.embedder.spaces.values()
            collection = collections.get(session, NAME)
            is_alive = owner.liveness_check(session)
            job = reembedding.open_job(session, collection, "hashing", spaces, owner.name, is_alive)
        ReembedRun(reembed_context(context), owner, Counting()).run(job)
    found = by_palette(context)
    assert found.space == COLOURS
    assert len(found.hits) == PICTURES
    check_agreement(context)
