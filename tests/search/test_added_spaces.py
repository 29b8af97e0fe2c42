"""A model that has come to have another space: collections of before go on, and get the space when they are remade."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from model.seam import EmbeddingSpace, FloatArray, Sample
from search.catalogue import items
from search.catalogue.session import Database
from search.engine import SearchEngine
from search.errors import BadQuery
from search.settings import Settings
from search.types import Collection, Query
from tests.search.gallery import (
    DIMENSION,
    WORDS,
    WordsEmbedder,
    direction,
    keys,
    make_collection,
    new_item,
    picture,
    put,
    text,
    words,
)


class SeesHues(WordsEmbedder):
    """`WordsEmbedder` with a space that tells pictures apart, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        known = frozenset({"rgb"})
        zero = np.zeros(DIMENSION, np.float32)
        hues = EmbeddingSpace("hues", DIMENSION, "hues-1", zero, modalities=known, instead="looks")
        self.spaces = {**self.spaces, "hues": hues}

    def default_space(self, modality: str) -> str:
        return "hues" if modality == "rgb" else super().default_space(modality)

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        found = super().embed(samples, [space for space in spaces if space != "hues"])
        if "hues" in spaces:
            found["hues"] = np.stack([self._hue(sample) for sample in samples])
        return found

    embed_gallery = embed

    def _hue(self, sample: Sample) -> FloatArray:
        return direction(words(sample.values["rgb"]) if "rgb" in sample.values else "nothing", "hues")


@pytest.fixture
def now() -> SeesHues:
    return SeesHues()


@pytest.fixture
def engine(database: Database, settings: Settings, now: SeesHues) -> SearchEngine:
    return SearchEngine(database, settings, now)


def test_a_collection_that_lacks_the_space_is_answered_in_the_one_that_stands_in(
    engine: SearchEngine, gallery: Collection
) -> None:
    results = engine.query("things", Query((picture(9),), k=5))
    assert results.space == "looks"
    assert len(results.hits) == len(WORDS)


def test_a_collection_with_the_space_is_answered_in_it(database: Database, engine: SearchEngine, now: SeesHues) -> None:
    made = make_collection(database, now, "hued")
    for total in (3, 9, 12):
        (hue,) = now.embed([Sample({"rgb": picture(total).value})], ["hues"])["hues"]
        new = new_item(now, str(total))
        with database.write() as session:
            items.write(session, made, [replace(new, vectors={**new.vectors, "hues": hue})])
    results = engine.query("hued", Query((picture(9),), k=1))
    assert results.space == "hues"
    assert keys(results) == ["9"]
    assert results.hits[0].score == pytest.approx(1, abs=1e-5)
    engine.write_snapshots("hued")
    assert engine.query("hued", Query((picture(9),), k=1)) == results


def test_a_space_named_for_what_it_does_not_know_is_refused(
    database: Database, engine: SearchEngine, now: SeesHues
) -> None:
    put(database, make_collection(database, now, "hued"), now, ["dog"])
    with pytest.raises(BadQuery, match="'hues' knows nothing of caption; it knows rgb"):
        engine.query("hued", Query((picture(9), text("cat")), space="hues"))
    assert engine.query("hued", Query((picture(9),), space="hues")).space == "hues"


def test_one_vector_of_several_parts_is_in_a_space_that_knows_them_all(
    database: Database, engine: SearchEngine, now: SeesHues
) -> None:
    put(database, make_collection(database, now, "hued"), now, ["dog"])
    assert engine.query("hued", Query((picture(9, weight=2.0), text("cat")))).space == "looks"
