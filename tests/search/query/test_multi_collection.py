"""Several collections asked at once, compared with one that has the items of all."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from anyseek.model.seam import Fusion
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, CollectionNotFound, FingerprintMismatch, ItemNotFound, LimitExceeded
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.query.multi_collection import query_collections
from anyseek.search.types import Part, Query, Results
from tests.search.engines import engine_over
from tests.search.gallery import Things, WordsEmbedder, make_collection, picture, put, text

COUNT = 40
NAMES = ["thirds", "rest"]


def fill(things: Things) -> None:
    for name in ("thirds", "rest", "all"):
        numbers = [n for n in range(COUNT) if name == "all" or (name == "thirds") == (n % 3 == 0)]
        things.beside(name).put_with({f"item {n}": {"n": n, "five": n % 5} for n in numbers})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with engine_over(tmp_path_factory.mktemp("several"), fill) as engine:
        yield engine


def ask(engine: SearchEngine, query: Query, names: list[str] = NAMES) -> Results:
    return query_collections(names, lambda _: engine, lambda _: query)


@pytest.mark.parametrize(
    "query",
    [
        Query((text("item 7"),), 10),
        Query((text("item 7"), picture(30, -0.5)), 7, offset=5),
        Query((text("item 7"),), 50, where=filter_from_text("n < 20")),
        Query((text("item 7"),), 50, min_score=0.2),
        Query((text("item 7"),), 3, group_by="five"),
        Query((text("item 7"),), 2, group_by="five", offset=2),
        Query((text("item 7"),), 5, group_by="five", group_size=40),
        Query((text("item 7"),), 5, space="looks", vectors=True),
    ],
)
def test_the_hits_are_those_of_one_collection_that_has_all(engine: SearchEngine, query: Query) -> None:
    found, whole = ask(engine, query), engine.query("all", query)
    assert (found.space, found.fusion) == (whole.space, whole.fusion)
    assert [(hit.key, hit.rank, hit.group) for hit in found.hits] == [
        (hit.key, hit.rank, hit.group) for hit in whole.hits
    ]
    assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in whole.hits], abs=1e-6)
    for hit in found.hits:
        assert hit.collection == ("rest" if hit.attributes["n"] % 3 else "thirds")
        assert (hit.vector is not None) == query.vectors


def test_words_find_in_all_collections(engine: SearchEngine) -> None:
    found = ask(engine, Query((Part("words", "21 22"),), 4))
    assert {(hit.key, hit.collection) for hit in found.hits} == {("item 21", "thirds"), ("item 22", "rest")}


def test_an_item_is_of_the_collection_that_its_part_names_or_of_the_first(engine: SearchEngine) -> None:
    whole = [hit.key for hit in engine.query("all", Query((Part(item="item 21"),), 5)).hits]
    for part in (Part(item="item 21"), Part(item="item 21", collection="all")):
        assert [hit.key for hit in ask(engine, Query((part,), 5)).hits] == whole
    with pytest.raises(ItemNotFound, match="'thirds' has no item 'item 22'"):
        ask(engine, Query((Part(item="item 22"),), 5))
    assert ask(engine, Query((Part(item="item 22", collection="rest"),), 5)).hits[0].key == "item 22"
    of_another = engine.query("thirds", Query((Part(item="item 22", collection="rest"),), 5))
    assert len(of_another.hits) == 5
    with pytest.raises(CollectionNotFound, match="nowhere"):
        engine.query("thirds", Query((Part(item="item 22", collection="nowhere"),), 5))


def test_hits_of_different_spaces_are_merged_by_rank(engine: SearchEngine) -> None:
    database, other = engine._database, WordsEmbedder("words-2")
    put(database, make_collection(database, other, "others"), other, ["a", "b", "c"])
    second = SearchEngine(database, engine._settings, other)
    engines = {"rest": engine, "others": second}
    found = query_collections(["rest", "others"], engines.__getitem__, lambda _: Query((text("b"),), 6))
    assert [hit.collection for hit in found.hits] == ["rest", "others"] * 3
    assert found.hits[1].key == "b"
    assert [hit.score for hit in found.hits[::2]] == pytest.approx([1, 61 / 62, 61 / 63])
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5, 6]
    assert found.fusion == Fusion.RANKS
    with pytest.raises(FingerprintMismatch, match="'others'"):
        ask(engine, Query((text("b"),), 6), ["rest", "others"])
    with pytest.raises(FingerprintMismatch, match="ask with its picture"):
        engine.query("rest", Query((Part(item="b", collection="others"),), 5))


@pytest.mark.parametrize(
    ("names", "more", "error", "says"),
    [
        ([], {}, BadQuery, "no collections"),
        (["rest", "rest"], {}, BadQuery, "twice"),
        ([f"c{n}" for n in range(17)], {}, LimitExceeded, "the most is 16"),
        (["rest", "gone"], {}, CollectionNotFound, "'gone'"),
        (NAMES, {"cursor": "x"}, BadQuery, "use offset"),
        (NAMES, {"facets": ("n",)}, BadQuery, "one collection"),
        (NAMES, {"k": 9_999, "offset": 9_999}, LimitExceeded, "k is 19998"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    engine: SearchEngine, names: list[str], more: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ask(engine, replace(Query((text("a"),), 3), **more), names)


def test_what_is_odd_about_a_filter_is_told_of_each_collection(engine: SearchEngine) -> None:
    found = ask(engine, Query((text("a"),), 3, where=filter_from_text("fiv = 3")))
    assert found.note == "; ".join(f"{name}: no item has the attribute 'fiv'; did you mean five?" for name in NAMES)


def test_added_rankings_of_collections_are_merged_by_rank(engine: SearchEngine) -> None:
    """Their scores are relative to the first items of each collection."""
    both = Query((text("item 21"), text("item 22")), 6, fusion=Fusion.RANKS)
    found = ask(engine, both)
    assert [hit.collection for hit in found.hits] == ["thirds", "rest"] * 3
    assert [hit.score for hit in found.hits[::2]] == pytest.approx([1, 61 / 62, 61 / 63])


def test_nothing_good_is_said_only_if_that_is_so_in_all(engine: SearchEngine) -> None:
    query = Query((text("item 21"),), 5)
    engine.embedder.set_nothing_good(1.1)
    note = ask(engine, query).note
    assert note.count("nothing good was found") == 2
    best = {name: engine.query(name, query).hits[0].probability or 0 for name in ("thirds", "rest")}
    between = (min(best.values()) + max(best.values())) / 2
    engine.embedder.set_nothing_good(between)
    assert ask(engine, query).note is None
