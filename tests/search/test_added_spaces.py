"""A model that has come to have another space: collections of before go on, others are answered in it."""

from dataclasses import replace

import pytest

from anyseek.search.errors import BadQuery
from anyseek.search.types import Query
from tests.search.gallery import WORDS, Home, keys, picture, text
from tests.search.hues import SeesHues, put_hued


@pytest.fixture
def hued(home: Home) -> Home:
    """A collection of the model that has the space, with three items beside one that has no hue."""
    made = replace(home, embedder=SeesHues()).beside("hued")
    for total in (3, 9, 12):
        put_hued(made.database, made.collection, made.embedder, str(total), "thing", total)
    made.put(["dog"])
    return made


def test_a_collection_that_lacks_the_space_is_answered_in_the_one_that_stands_in(hued: Home) -> None:
    results = hued.engine().query("things", Query((picture(9),), k=5))
    assert results.space == "looks"
    assert len(results.hits) == len(WORDS)
    both = hued.engine().query("things", Query((picture(9, weight=2.0), text("cat"))))
    assert (both.space, both.fusion) == ("looks", "late")


def test_a_collection_with_the_space_is_answered_in_it(hued: Home) -> None:
    engine = hued.engine()
    results = engine.query("hued", Query((picture(9),), k=1))
    assert results.space == engine.query("hued", Query((picture(9),), space="hues")).space == "hues"
    assert keys(results) == ["9"]
    assert results.hits[0].score == pytest.approx(1, abs=1e-5)
    engine.write_snapshots("hued")
    assert engine.query("hued", Query((picture(9),), k=1)) == results
    with pytest.raises(BadQuery, match="'hues' knows nothing of caption; it knows rgb"):
        engine.query("hued", Query((picture(9), text("cat")), space="hues"))
    both = Query((picture(9, weight=2.0), text("cat")), fusion="late")
    assert engine.query("hued", both).space == "looks", "one vector of both is in a space that knows both"
