"""A model that has come to have another space: collections of before go on, others are answered in it."""

import pytest

from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, Query
from tests.search.gallery import WORDS, keys, make_collection, picture, put, text
from tests.search.hues import SeesHues, put_hued


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
    both = engine.query("things", Query((picture(9, weight=2.0), text("cat"))))
    assert (both.space, both.fusion) == ("looks", "late")


def test_a_collection_with_the_space_is_answered_in_it(database: Database, engine: SearchEngine, now: SeesHues) -> None:
    made = make_collection(database, now, "hued")
    for total in (3, 9, 12):
        put_hued(database, made, now, str(total), "thing", total)
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
    parts = (picture(9, weight=2.0), text("cat"))
    assert engine.query("hued", Query(parts, fusion="late")).space == "looks"
