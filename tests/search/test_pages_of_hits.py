"""Which of the nearest items become hits: offset, the least score; and vectors in and out of queries."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import FloatArray, Fusion, Sample
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Part, Query
from tests.search.gallery import WordsEmbedder, picture, text

ANY = Query((text("cat"),), k=10)


@pytest.fixture
def engine(words_engine: SearchEngine) -> SearchEngine:
    return words_engine


@pytest.mark.parametrize("where", [None, filter_from_text("not words = dog")])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_pages_are_the_hits_in_pieces(engine: SearchEngine, where: object, size: int) -> None:
    query = replace(ANY, where=where)
    every = engine.query("things", query).hits
    pages = [engine.query("things", replace(query, k=size, offset=start)).hits for start in range(0, 8, size)]
    assert [hit for page in pages for hit in page] == list(every), "nor does a probability depend on the page"


def test_no_hit_is_below_the_least_score(engine: SearchEngine) -> None:
    every = engine.query("things", ANY).hits
    least = every[2].score
    assert engine.query("things", replace(ANY, min_score=least)).hits == every[:3]
    assert engine.query("things", replace(ANY, min_score=least, offset=1)).hits == every[1:3]
    assert engine.query("things", replace(ANY, min_score=-1.0)).hits == every


def test_an_answer_without_a_good_hit_says_how_good_the_best_is(engine: SearchEngine) -> None:
    query = Query((text("unicorn"),), min_score=0.99)
    results = engine.query("things", query)
    best = engine.query("things", replace(query, min_score=None)).hits[0].score
    assert results.hits == ()
    assert results.note == f"no item has a score of at least 0.99; the highest is {best:.3f}"
    assert engine.query("things", replace(query, min_score=None)).note is None


def test_an_answer_says_when_nothing_good_was_found(engine: SearchEngine) -> None:
    best = engine.query("things", ANY).hits[0].probability
    engine.embedder.set_nothing_good(best + 1e-6)
    note = f"nothing good was found: the best item has a probability of {best:.3f}"
    assert engine.query("things", ANY).note == note
    engine.embedder.set_nothing_good(best - 1e-6)
    assert engine.query("things", ANY).note is None


def test_no_hit_is_less_probable_than_asked(engine: SearchEngine) -> None:
    every = engine.query("things", ANY).hits
    likely = [hit.probability for hit in every]
    assert likely == sorted(likely, reverse=True)
    assert likely[0] > likely[2] > likely[-1]
    assert engine.query("things", replace(ANY, min_probability=likely[2])).hits == tuple(
        hit for hit in every if hit.probability >= likely[2]
    )
    assert engine.query("things", replace(ANY, min_probability=0.0)).hits == every
    none = engine.query("things", replace(ANY, min_probability=1.0))
    assert none.hits == ()
    assert none.note == (
        f"nothing good was found: no item has a probability of at least 1; the highest is {likely[0]:.3f}"
    )


def test_hits_of_other_queries_have_no_probability_and_stay(engine: SearchEngine) -> None:
    for parts in ((text("a cat that sleeps on a mat"),), (text("cat"), picture(30)), (text("cat", -1.0),)):
        found = engine.query("things", replace(ANY, parts=parts, min_probability=1.0))
        assert len(found.hits) == 5
        assert {hit.probability for hit in found.hits} == {None}
        assert found.note.startswith("min_probability leaves nothing out here")


def test_a_hit_s_vector_asks_what_its_item_asks(engine: SearchEngine) -> None:
    (dog,) = engine.query("things", Query((Part(item="dog"),), k=1, space="means", vectors=True)).hits
    vector = np.array(dog.vector, np.float32)
    by_item = engine.query("things", Query((Part(item="dog"), text("cat", -0.5)), space="means"))
    by_vector = engine.query("things", Query((Part(vector=vector), text("cat", -0.5)), space="means"))
    assert by_vector == by_item
    longer = engine.query("things", Query((Part(vector=3 * vector), text("cat", -0.5)), space="means"))
    assert [hit.score for hit in longer.hits] == pytest.approx([hit.score for hit in by_item.hits], abs=1e-6)
    assert all(hit.vector is None for hit in by_item.hits)


def test_a_model_s_vector_asks_what_its_content_asks(engine: SearchEngine, embedder: WordsEmbedder) -> None:
    vector = embedder.vector(Sample({"caption": "cat"}), "means")
    by_vector = engine.query("things", Query((Part("caption", vector=vector), picture(9)), space="means"))
    assert by_vector == engine.query("things", Query((text("cat"), picture(9)), space="means", fusion=by_vector.fusion))


def test_vectors_are_joined_with_nothing(engine: SearchEngine, embedder: WordsEmbedder) -> None:
    vector: FloatArray = embedder.vector(Sample({"rgb": np.zeros((1, 1, 3), np.uint8)}), "means")
    with pytest.raises(BadQuery, match="a part is a vector"):
        engine.query("things", Query((text("cat"), Part("rgb", vector=vector)), space="means", fusion=Fusion.JOINT))
