"""Words of texts, and queries that look for them: alone, with parts, in pages, groups and filters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.seam import Fusion
from anyseek.search.catalogue import items
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import SpaceNotFound
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.query.words import is_name, longest, terms_of, words_of
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, Part, Query
from tests.search.gallery import Home, WordsEmbedder, keys, new_item, text

HELD = {
    "a": ("dog", {"album": "one", "title": "Rex in Rome"}),
    "b": ("dog", {"album": "two", "title": "Rex at home"}),
    "c": ("cat", {"album": "one", "title": "Rome"}),
    "d": ("car", {"title": "nobody"}),
    "e": ("tree", {"album": "two"}),
}


@pytest.fixture
def gallery(database: Database, embedder: WordsEmbedder, collection: Collection) -> Collection:
    new = [
        replace(new_item(embedder, key, caption), attributes=attributes) for key, (caption, attributes) in HELD.items()
    ]
    with database.write() as session:
        items.write(session, collection, new)
    return collection


@pytest.fixture
def engine(database: Database, settings: Settings, embedder: WordsEmbedder, gallery: Collection) -> SearchEngine:
    return SearchEngine(database, settings, embedder)


def words(asked: str, weight: float = 1.0) -> tuple[Part, ...]:
    return (Part("words", asked, weight=weight),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Two DOGS", ["two", "dog"]),
        ("IMG_0042.jpg", ["img", "0042", "jpg"]),
        ("Straße, Ærø; naïve", ["strasse", "ærø", "naive"]),
        ("cities glass bus his", ["city", "glass", "bus", "his"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("猫、Tシャツ", ["猫", "t", "シャ", "ャツ"]),
        ("スター・ウォーズ", ["スタ", "ター", "ウォ", "ォー", "ース"]),
        ("고양이가 잔다", ["고양", "양이", "이가", "잔다"]),
        ("\u1100\u1169\u110b\u1163\u11bc", ["고양"]),  # as macOS writes a file's name
        ("ห้องนอน", ["หอ", "อง", "งน", "นอ", "อน"]),
        ("लाल कुत्ता।", ["लाल", "कुतता"]),
        ("½ ① x²", ["1", "2", "1", "x2"]),
        ("Lego™ ℌi 5㎒ №5", ["legotm", "hi", "5mhz", "no5"]),
        ("", []),
        ("?!", []),
    ],
)
def test_words_of_a_text(given: str, expected: list[str]) -> None:
    assert words_of(given) == expected


@given(st.text())
def test_words_of_words_are_these_words(given: str) -> None:
    found = words_of(given)
    assert words_of(" ".join(found)) == found
    assert not any(sign.isascii() and sign.isupper() for sign in "".join(found))


def test_words_of_every_sign_are_these_words() -> None:
    for start in range(0, 0x32000, 256):  # beyond, none is a letter
        found = words_of(" ".join(chr(number) * 3 for number in range(start, start + 256)))
        assert words_of(" ".join(found)) == found


_BLOCKS = [(0xE01, 0xEFF), (0x1000, 0x1090), (0x1780, 0x17FF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)]
# With the signs between words, and without Burmese u, of which a sign behind it makes another letter.
_SPACELESS = st.one_of(
    st.characters(min_codepoint=first, max_codepoint=last, exclude_characters="\u1025") for first, last in _BLOCKS
)


@given(st.text(_SPACELESS), st.data())
def test_a_text_without_spaces_is_found_by_any_piece_of_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    piece = text[start : data.draw(st.integers(start, len(text)))]
    assert set(words_of(piece)) <= set(terms_of(text))


@given(st.text(), st.integers(2, 8))
def test_what_words_find_is_found_by_whole_words_alone(text: str, length: int) -> None:
    word = "q" * length
    assert word in terms_of(f"{text} {word}")
    assert word not in terms_of(f"{text}x{word}x")


def test_words_without_their_single_characters() -> None:
    assert longest(["5", "50", "a", "cat", "白", "白猫", "犬"]) == ["5", "50", "a", "cat", "白猫", "犬"]


def test_words_alone_find_what_has_them(engine: SearchEngine, embedder: WordsEmbedder) -> None:
    calls = embedder.calls
    results = engine.query("things", Query(words("Rex Rome")))
    assert keys(results) == ["a", "b", "c"]
    assert [hit.score for hit in results.hits] == [1.0, pytest.approx(61 / 62), pytest.approx(61 / 62)]
    assert (results.space, results.fusion, embedder.calls) == (None, None, calls)


def test_words_beside_others_are_added_by_rank_and_so_it_is_said(engine: SearchEngine) -> None:
    results = engine.query("things", Query((text("cat"), *words("Rex"))))
    assert results.fusion == Fusion.RANKS
    assert results.hits[0].score < 1, "nothing is first in both"


def test_words_alone_are_not_asked_in_a_space_that_is_not_there(engine: SearchEngine) -> None:
    with pytest.raises(SpaceNotFound, match="nowhere"):
        engine.query("things", Query(words("Rome"), space="nowhere"))


def test_words_decide_among_what_parts_find_and_parts_among_what_words_find(engine: SearchEngine) -> None:
    dogs = engine.query("things", Query((text("dog"),), k=2))
    assert keys(dogs) == ["a", "b"]
    assert keys(engine.query("things", Query((text("dog"), *words("home")), k=2))) == ["b", "a"]
    assert keys(engine.query("things", Query((text("cat"), *words("Rome")))))[:2] == ["c", "a"]


def test_pages_groups_scores_and_filters_hold_for_words(engine: SearchEngine) -> None:
    query = Query((text("dog"), *words("rome")))
    every = engine.query("things", query).hits
    assert len(every) == 5
    pages = [engine.query("things", replace(query, k=2, offset=start)).hits for start in (0, 2, 4)]
    assert [hit for page in pages for hit in page] == list(every)
    assert engine.query("things", replace(query, min_score=every[1].score)).hits == every[:2]
    of_groups = engine.query("things", replace(query, group_by="album", k=2)).hits
    assert {hit.group for hit in of_groups} == {"one", "two"}
    assert of_groups[0].key == every[0].key
    where = filter_from_text("album = two")
    assert set(keys(engine.query("things", replace(query, where=where)))) == {"b", "e"}
    assert keys(engine.query("things", Query(words("rex"), where=where))) == ["b"]
    given = engine.query("things", Query(words("rex"), space="looks", vectors=True))
    assert given.space == "looks"
    assert all(hit.vector is not None for hit in given.hits)


def test_a_batch_may_mix_words_and_parts(engine: SearchEngine) -> None:
    asked = [Query(words("cat")), Query((text("car"),), k=1), Query(words("unheard"))]
    assert [keys(answer) for answer in engine.query_batch("things", asked)] == [["c"], ["d"], []]


def test_verify_names_words_that_do_not_fit_and_rebuild_makes_them_again(home: Home, engine: SearchEngine) -> None:
    assert home.whats() == []
    assert keys(engine.query("things", Query(words("rex")))) == ["a", "b"]  # compared, and not again so soon
    with home.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM words WHERE item_id IN (SELECT id FROM items WHERE key IN ('a', 'b'))")
    assert home.whats() == ["words would not find 2 items as they are, such as 'a'"]
    assert keys(engine.query("things", Query(words("rex")))) == []
    home.rebuild()
    assert home.whats() == []
    assert keys(engine.query("things", Query(words("rex")))) == ["a", "b"]


def test_an_index_that_is_damaged_is_made_again(home: Home, engine: SearchEngine) -> None:
    with home.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE words_index_data SET block = x'00ff' WHERE id > 10")
    home.database.engine.dispose()  # SQLite keeps what it has read of an index
    assert any("words" in what or "database" in what for what in home.whats())
    home.rebuild()
    assert home.whats() == []
    assert keys(engine.query("things", Query(words("rex")))) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("horse", True),
        ("An electric guitar", True),
        ("the Golden Gate bridge", True),
        ("golden gate bridge at night", False),
        ("a man rides a horse", False),
        ("a", False),
        ("...", False),
        ("金毛寻回犬", True),
        ("一只狗在草地上跑", False),
        ("골든 리트리버", True),
    ],
)
def test_a_name_is_at_most_three_words(text: str, is_one: bool) -> None:
    assert is_name(text) == is_one
