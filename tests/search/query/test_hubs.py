"""Hubs: an item that is near to all queries comes after one that is near to this query."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.search.engine import SearchEngine
from anyseek.search.query.hubs import SHARE, corrected
from anyseek.search.types import Query
from tests.search.gallery import WORDS, WordsEmbedder, picture, text


def test_the_nearest_typical_queries_count() -> None:
    queries = np.array([(1, 0), (0.9, 0), (0.8, 0), (0.7, 0), (-1, 0), (0, 1)], np.float32)
    items = np.array([(1, 0), (0, 1)], np.float32)
    scores = corrected(np.array([0.5, 0.5], np.float32), items, queries)
    assert scores == pytest.approx([0.5 - SHARE * 0.85, 0.5 - SHARE * 0.25])


def test_without_typical_queries_scores_are_cosines() -> None:
    cosines = np.array([0.5, 0.1], np.float32)
    assert corrected(cosines, np.eye(2, dtype=np.float32), None) is cosines


def test_a_hub_falls_in_answers_to_queries_of_its_modality(
    words_engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typical queries by captions are all near to the best hit, so that the second comes first; pictures stay."""
    engine, embedder = words_engine, words_engine.embedder
    assert isinstance(embedder, WordsEmbedder)
    query = Query((text("a sleeping cat"),), k=len(WORDS), explain=2)
    before = engine.query("things", query)
    first = before.hits[0].key
    (hub,) = engine.query("things", replace(query, k=1, explain=0, space="means", vectors=True)).hits
    typical = {"caption": np.tile(np.array(hub.vector, np.float32), (8, 1))}
    spaces = {name: replace(space, typical_queries=typical) for name, space in embedder.spaces.items()}
    pictures = engine.query("things", Query((picture(30),), k=3)).hits
    sentence = replace(query, parts=(text("a cat that sleeps on mats"),))
    plain = engine.query("things", sentence).hits
    monkeypatch.setattr(embedder, "spaces", spaces)
    engine._score_samples.forget()  # has none of their scores
    assert engine.query("things", sentence).hits == plain
    after = engine.query("things", query)
    scores = {hit.key: hit.score for hit in after.hits}
    fallen = {hit.key: hit.score - scores[hit.key] for hit in before.hits}
    assert max(fallen, key=fallen.__getitem__) == first
    assert [hit.score for hit in after.hits] == sorted(scores.values(), reverse=True)
    assert {each.key: each.score for each in after.explanations} == pytest.approx(
        {hit.key: hit.score for hit in after.hits[:2]}, abs=1e-6
    )
    assert engine.query("things", Query((picture(30),), k=3)).hits == pictures
    pages = [engine.query("things", replace(query, k=2, offset=start)).hits for start in range(0, 8, 2)]
    assert [hit.key for page in pages for hit in page] == [hit.key for hit in after.hits]
    engine._score_samples.forget()
