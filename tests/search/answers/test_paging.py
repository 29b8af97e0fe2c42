"""Pages by cursor, compared with all hits at once, while nothing and while much is written."""

import base64
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.modalities.reading.encoded import Interpretation
from anyseek.search.answers.paging import BadCursor, pages_of
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Collection, Hit, Part, Query
from tests.search.engines import engine_over
from tests.search.gallery import Home, Things, picture, text

COUNT = 120
ANY = Query((text("item 7"),), k=7)
EACH_WAY = [
    ANY,
    replace(ANY, where=filter_from_text("n < 40")),
    replace(ANY, parts=(text("item 7"), picture(30)), fusion="ranks", k=13),
    replace(ANY, parts=(Part("words", "item"),), k=50),
    replace(ANY, group_by="decade", group_size=3, k=2),
    replace(ANY, group_by="tags", k=3),
    replace(ANY, min_score=0.1),
    replace(ANY, k=COUNT),
]


def fill(things: Things) -> Collection:
    things.put_with({f"item {n}": {"n": n, "decade": n // 10, "tags": [n % 5, f"t{n % 3}"]} for n in range(COUNT)})
    return things.collection


@pytest.fixture
def gallery(things: Things) -> Collection:
    return fill(things)


@pytest.fixture(scope="module", params=["faiss", "qdrant"])
def shared_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with engine_over(tmp_path_factory.mktemp("pages"), fill, request.param) as engine:
        yield engine


def pages(engine: SearchEngine, query: Query) -> Iterator[tuple[Hit, ...]]:
    cursor = None
    while True:
        results = engine.query("things", replace(query, cursor=cursor))
        yield results.hits
        cursor = results.next
        if cursor is None:
            return


@pytest.mark.parametrize("query", EACH_WAY)
def test_pages_are_all_hits_in_pieces(shared_engine: SearchEngine, query: Query) -> None:
    every = shared_engine.query("things", replace(query, k=COUNT)).hits
    found = [hit for page in pages(shared_engine, query) for hit in page]
    assert [(hit.rank, hit.key, hit.group) for hit in found] == [(hit.rank, hit.key, hit.group) for hit in every]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in every], abs=1e-6)


def test_no_hit_comes_twice_and_none_is_missed_while_items_are_written(
    each_engine: SearchEngine, things: Things
) -> None:
    drawn, gone, seen = random.Random(1), set[str](), list[str]()
    for number, page in enumerate(pages(each_engine, ANY)):
        seen += [hit.key for hit in page]
        deleted = drawn.sample(sorted({f"item {n}" for n in range(COUNT)} - gone), 2)
        things.remove(deleted)
        gone |= set(deleted)
        things.put([f"new {number}"], text="item 7")  # the best of all from now on
    assert len(seen) == len(set(seen))
    assert {f"item {n}" for n in range(COUNT)} - gone <= set(seen)
    assert len([key for key in seen if key.startswith("new")]) >= number - 1


def test_a_cursor_outlives_the_engine(home: Home) -> None:
    def one_page(cursor: str | None) -> tuple[list[str], str | None]:
        results = home.engine().query("things", replace(ANY, cursor=cursor))
        return [hit.key for hit in results.hits], results.next

    first, cursor = one_page(None)
    second, _ = one_page(cursor)
    whole = home.engine().query("things", replace(ANY, k=14)).hits
    assert first + second == [hit.key for hit in whole]


@pytest.mark.parametrize(
    "other",
    [
        {"parts": (text("item 8"),)},
        {"parts": (text("item 7", 0.5),)},
        {"parts": (picture(7),)},
        {"where": filter_from_text("n < 40")},
        {"space": "looks"},
        {"min_score": 0.0},
        {"group_by": "decade"},
        {"parts": (*ANY.parts, Part("words", "item"))},
    ],
)
def test_a_cursor_of_another_query_is_refused(shared_engine: SearchEngine, other: dict[str, object]) -> None:
    cursor = shared_engine.query("things", ANY).next
    with pytest.raises(BadCursor, match="of another query"):
        shared_engine.query("things", replace(ANY, cursor=cursor, **other))
    assert len(shared_engine.query("things", replace(ANY, cursor=cursor, k=3, facets=("n",), vectors=True)).hits) == 3


def test_a_cursor_of_another_picture_or_collection_is_refused(home: Home, each_engine: SearchEngine) -> None:
    large = np.arange(300 * 400 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 400, 3)
    query = Query((replace(picture(3), value=large),), k=2)
    cursor = each_engine.query("things", query).next
    for changed in (large[::-1], large[:, ::-1], large // 2):
        with pytest.raises(BadCursor, match="of another"):
            each_engine.query("things", Query((replace(picture(3), value=changed),), k=2, cursor=cursor))
    home.beside("others").put(["a", "b", "c"])
    with pytest.raises(BadCursor, match="of another"):
        each_engine.query("others", replace(query, cursor=cursor))


def test_a_damaged_cursor_is_refused(shared_engine: SearchEngine) -> None:
    cursor = shared_engine.query("things", ANY).next
    drawn = random.Random(0)
    flipped = []
    for _ in range(50):
        place = drawn.randrange(len(cursor) - 1)  # not the last, of which some bits are unused
        flipped.append(cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :])
    empty = base64.urlsafe_b64encode(b"\x01").decode()
    for wrong in [*flipped, "", "A", "*", "a b", cursor[:-4], cursor + cursor, "\ud800", "A" * 300_000, empty]:
        with pytest.raises(BadCursor, match=r"damaged|another"):
            shared_engine.query("things", replace(ANY, cursor=wrong))


def test_offset_and_cursor_are_two_ways(shared_engine: SearchEngine) -> None:
    first = shared_engine.query("things", ANY)
    assert shared_engine.query("things", replace(ANY, offset=1)).next is None
    with pytest.raises(BadQuery, match="an offset and a cursor"):
        shared_engine.query("things", replace(ANY, offset=1, cursor=first.next))


def test_pages_end_at_the_limit_of_hits(home: Home) -> None:
    few = replace(home.settings, limits=replace(home.settings.limits, hits=20))
    engine = SearchEngine(home.database, few, home.embedder)
    found = list(pages(engine, ANY))
    assert [len(page) for page in found] == [7, 7]
    cursor = engine.query("things", ANY).next
    with pytest.raises(LimitExceeded, match="at most 20"):
        engine.query("things", replace(ANY, cursor=cursor, k=14))


def test_a_cursor_does_not_depend_on_how_a_file_was_called_or_understood(shared_engine: SearchEngine) -> None:
    def asked(name: str) -> Query:
        read = Interpretation(name, "far-bright", 0.9, f"{name} is a depth map")
        return replace(ANY, parts=(replace(picture(30), understood=read),))

    following = shared_engine.query("things", asked("a.png")).next
    assert following is not None
    assert shared_engine.query("things", replace(asked("elsewhere/b.png"), cursor=following)).hits


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        (Query((Part(vector=np.arange(8, dtype=np.float32) / 8),)), "3af0456658070199"),
        (
            Query((text("a dog"), Part(item="é/1.jpg", weight=-0.5)), space="given", fusion="ranks"),
            "d7a02d4fc803aebc",
        ),
        (
            Query(
                (Part("words", "Rimini 1987"),),
                where=filter_from_text("n < 40 and label in (cat, dog)"),
                min_score=0.25,
                group_by="place.town",
                group_size=3,
            ),
            "f8ec8714a414a8da",
        ),
        (
            Query((Part("rgb", np.arange(192, dtype=np.uint8).reshape(8, 8, 3)),), spaces=("a", "b")),
            "9aaffa8fd4477be3",
        ),
    ],
)
def test_cursors_of_earlier_versions_are_still_of_the_same_query(query: Query, asked: str) -> None:
    """Callers may hold one while the service is upgraded."""
    assert pages_of(query, 7, 10_000).query_hash.hex() == asked
