import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import event

from anyseek.model.seam import FloatArray, Fusion, Sample
from anyseek.search.catalogue import collections, items, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, CollectionNotFound, ItemNotFound, StoreCorrupt
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import BadFilter, Compare, Operator
from anyseek.search.query import vectors
from anyseek.search.settings import Settings
from anyseek.search.types import Part, Query, Results, Tuning
from tests.search.gallery import WORDS, Things, WordsEmbedder, keys, picture, text


@pytest.fixture
def engine(things: Things, settings: Settings) -> SearchEngine:
    things.put(WORDS)
    return SearchEngine(things.database, settings, things.embedder)


def test_the_item_that_is_meant_comes_first(engine: SearchEngine) -> None:
    results = engine.query("things", Query((text("cat"),), k=3))
    assert keys(results)[0] == "cat"
    assert results.space == "means"
    assert results.hits[0].score == pytest.approx(1, abs=1e-5)
    assert [hit.rank for hit in results.hits] == [1, 2, 3]
    assert results.hits[0].caption == "cat"
    scores = [hit.score for hit in results.hits]
    assert scores == sorted(scores, reverse=True)


def test_k_above_the_count_gives_all(things: Things, engine: SearchEngine) -> None:
    assert len(engine.query("things", Query((text("cat"),), k=10_000)).hits) == 5
    things.remove(WORDS)
    assert engine.query("things", Query((text("cat"),))).hits == ()


def test_a_filter_sees_what_was_written_since(things: Things, engine: SearchEngine) -> None:
    query = Query((text("cat"),), where=filter_from_text("@key starts with ca"))
    assert set(keys(engine.query("things", query))) == {"cat", "car"}
    things.put(["cake"])
    things.remove(["car"])
    assert set(keys(engine.query("things", query))) == {"cat", "cake"}


def test_queries_of_a_batch_have_filters_of_their_own(engine: SearchEngine) -> None:
    filters = [None, filter_from_text("@key = dog"), Compare("@size", Operator.EQUAL, 5.0)]
    whole, filtered, wrong = engine.query_batch("things", [Query((text("cat"),), where=where) for where in filters])
    assert len(whole.hits) == 5
    assert keys(filtered) == ["dog"]
    assert isinstance(wrong, BadFilter)


def test_an_item_is_the_first_hit_of_itself(engine: SearchEngine) -> None:
    results = engine.query("things", Query((Part(item="tree"),), k=5))
    assert keys(results)[0] == "tree"
    assert results.space == "looks"
    assert results.hits[0].score == pytest.approx(1, abs=1e-5)


def test_parts_add_up_and_negative_ones_push_away(engine: SearchEngine) -> None:
    both = engine.query("things", Query((text("cat"), text("dog")), k=5))
    assert set(keys(both)[:2]) == {"cat", "dog"}
    without = engine.query("things", Query((text("cat"), text("dog", weight=-1.0)), k=5))
    assert (keys(without)[0], keys(without)[-1]) == ("cat", "dog")
    far = engine.query("things", Query((text("dog", weight=-1.0),), k=5))
    assert keys(far)[-1] == "dog"
    assert far.hits[-1].score == pytest.approx(-1, abs=1e-5)


def test_a_joint_query_is_one_sample_centred_on_the_mean_of_its_parts(things: Things, engine: SearchEngine) -> None:
    things.put(["cat 9"])  # what the two parts together say
    parts = (text("cat"), picture(9))
    joint = engine.query("things", Query(parts, fusion=Fusion.JOINT))
    assert keys(joint)[0] == "cat 9"
    assert joint.hits[0].score == pytest.approx(1, abs=1e-5)
    late = engine.query("things", Query(parts, fusion=Fusion.LATE))
    assert keys(late)[0] == "cat"
    before = things.embedder.calls
    batch = [Query(parts, fusion=fusion) for fusion in (Fusion.JOINT, Fusion.LATE, None)]
    assert engine.query_batch("things", batch) == [joint, late, late]
    assert things.embedder.calls == before + 1


def test_a_batch_answers_in_order_with_errors_in_their_places(engine: SearchEngine, embedder: WordsEmbedder) -> None:
    queries = [
        Query((text("cat"),), k=1),
        Query(()),
        Query((Part(item="dog"),), k=2),
        Query((Part(item="unicorn"),)),
        Query((text("car"), picture(9)), k=3, space="looks"),
        Query((text("tree"), text("tree", weight=-1.0))),
        Query((text("tree"),), k=2, space="looks"),
    ]
    before = embedder.calls
    answers = engine.query_batch("things", queries)
    assert embedder.calls == before + 1
    kinds = [Results, BadQuery, Results, ItemNotFound, Results, BadQuery, Results]
    assert [type(answer) for answer in answers] == kinds
    assert [len(answer.hits) for answer in answers if isinstance(answer, Results)] == [1, 2, 3, 2]
    for query, answer in zip(queries, answers, strict=True):
        if isinstance(answer, Results):
            assert engine.query("things", query) == answer


def test_an_unknown_collection_is_named(engine: SearchEngine) -> None:
    for call in (lambda: engine.query("nowhere", Query((text("cat"),))), lambda: engine.write_snapshots("nowhere")):
        with pytest.raises(CollectionNotFound, match="nowhere"):
            call()


def test_changes_are_seen_by_the_next_query(things: Things, engine: SearchEngine) -> None:
    cat = Query((text("cat"),), k=10)
    assert keys(engine.query("things", cat))[0] == "cat"
    things.remove(["cat"])
    assert "cat" not in keys(engine.query("things", cat))
    things.put(["kitten"], "cat")
    assert keys(engine.query("things", cat))[0] == "kitten"
    things.put(["kitten"], "dog")
    assert set(keys(engine.query("things", Query((text("dog"),), k=2)))) == {"dog", "kitten"}


def test_a_collection_made_anew_under_its_name_is_another(things: Things, engine: SearchEngine) -> None:
    engine.write_snapshots("things")
    with things.database.write() as session:
        collections.delete(session, "things")
    things.beside("things").put(["new"])
    assert keys(engine.query("things", Query((text("cat"),), k=10))) == ["new"]


def test_answers_are_the_same_before_and_after_a_snapshot_and_in_a_new_process(
    things: Things, settings: Settings, engine: SearchEngine
) -> None:
    query = Query((text("cat"), Part(item="tree", weight=-0.3)), k=10)
    before = engine.query("things", query)
    engine.write_snapshots("things")
    assert engine.query("things", query) == before
    assert SearchEngine(things.database, settings, things.embedder).query("things", query) == before


def test_an_item_that_vanishes_during_the_search_does_not_cost_another_hit(
    things: Things, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item is deleted after the index was searched and before its row is read."""
    read, deleted = items.by_ids, []

    def delete_first(session, ids):
        if not deleted:
            deleted.append(things.remove(["cat"]))
        with things.database.read() as later:
            return read(later, ids)

    monkeypatch.setattr(items, "by_ids", delete_first)
    assert len(keys(engine.query("things", Query((text("cat"),), k=4)))) == 4


def test_an_item_that_is_newer_than_what_is_read_is_no_hit_and_costs_none(
    things: Things, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put, and indexed by another query, after this one began to read the catalogue."""
    read, late = vectors.raw_item_vectors, []

    def put_meanwhile(session, *more):
        found = read(session, *more)
        if not late:
            late.extend(things.put(["late"], "cat"))
            assert "late" in keys(engine.query("things", Query((text("cat"),), space="looks")))
        return found

    monkeypatch.setattr("anyseek.search.engine.raw_item_vectors", put_meanwhile)
    answers = [keys(engine.query("things", Query((Part(item="cat"),), k=4))) for _ in range(2)]
    assert ["late" in answer for answer in answers] == [False, True]
    assert [len(answer) for answer in answers] == [4, 4]


def test_an_item_without_its_vector_is_reported(things: Things, settings: Settings) -> None:
    things.put(["cat", "dog"])
    engine = SearchEngine(things.database, settings, things.embedder)
    item = things.item("cat")
    with things.database.write() as session:
        session.query(LogRow).filter(LogRow.item_id == item.id).delete()
    with pytest.raises(StoreCorrupt, match="rebuild things"):
        engine.query("things", Query((Part(item="cat"),)))
    assert "cat" not in keys(engine.query("things", Query((text("cat"),))))


def test_a_gallery_centred_on_its_own_mean_still_finds_and_scores_cosines(things: Things, settings: Settings) -> None:
    engine = SearchEngine(things.database, settings, things.embedder)
    things.put([f"thing {number}" for number in range(80)])
    engine.write_snapshots("things")
    with things.database.read() as session:
        space = collections.get(session, "things").spaces["looks"]
        pages = list(log.latest_vectors(session, things.collection.id, space.id))
    assert space.centre_version == 1
    raw = pages[0].of(space.fingerprint, space.dimension)[1]
    moved = raw - raw.mean(0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    results = engine.query("things", Query((Part(item="thing 7"),), k=80))
    expected = np.sort(moved @ moved[7])[::-1]
    np.testing.assert_allclose([hit.score for hit in results.hits], expected, atol=1e-5)
    assert keys(results)[0] == "thing 7"


def test_nothing_in_search_imports_torch_and_only_qdrant_its_client() -> None:
    script = (
        "import sys\nimport anyseek.search.engine, anyseek.search.upkeep.rebuild\n"
        "print('qdrant_client' in sys.modules)\n"
        "import anyseek.search.spaces.qdrant.backend\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nFalse\n"


def test_a_query_asks_the_catalogue_for_its_head_and_the_rows_of_its_hits_only(
    database: Database, engine: SearchEngine
) -> None:
    query = Query((text("cat"),), k=3)
    engine.query("things", query)
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2].split()[0]))
    engine.query("things", query)
    assert asked == []


def test_texts_of_like_length_are_embedded_together(
    engine: SearchEngine, embedder: WordsEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models pad the texts of a batch to the longest; each query still gets its own answer."""
    texts = ["a very long tale of a dog", "house", "cat", "a very long tale of a cat"]
    batches: list[list[int]] = []
    embed = embedder.embed

    def watched(samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        batches.append([len(str(sample.values["caption"])) for sample in samples])
        return embed(samples, spaces)

    monkeypatch.setattr(embedder, "embed", watched)
    queries = [Query((text(words),), k=3) for words in texts]
    together = engine.query_batch("things", queries)
    assert batches == [sorted(len(text) for text in texts)]
    assert [keys(answer) for answer in together] == [keys(engine.query("things", query)) for query in queries]


def test_means_may_be_forgotten_while_those_of_another_space_are_read(
    things: Things, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread does that deletes a collection."""

    def forget_and_read(*_: object) -> list[Tuning]:
        engine.forget("another")
        return []

    space = things.head.spaces[0]
    monkeypatch.setattr("anyseek.search.query.vectors.collections.tunings_of", forget_and_read)
    both = [replace(space, id=number, tuning_version=1) for number in (1, 2)]
    assert engine._query_means.of_spaces(both) == {1: {}, 2: {}}
