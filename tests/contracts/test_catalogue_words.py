"""Full text finds the same items on every database, at every moment of an item's life."""

from dataclasses import replace
from itertools import pairwise

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from anyseek.search.catalogue import checks, collections, items, words
from anyseek.search.catalogue.derived_tables import WORDS
from anyseek.search.catalogue.tables import WordsRow
from anyseek.search.catalogue.upgrade import configuration, upgrade
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.query.words import MAX_WORDS, words_of
from anyseek.search.types import Attributes
from tests.search.gallery import Things

_INDEX = "INSERT INTO words_index"
ITEMS: dict[str, tuple[str | None, Attributes]] = {
    "pets/IMG_0042.jpg": ("Two red dogs, asleep", {"place": {"town": "Zürich"}, "year": 1987}),
    "pets/cat.png": ("a red cat's basket", {"keywords": ["Katze", "red 'quoted' OR"]}),
    "x1": (None, {"title": "Café in Köln", "rating": 3.5, "seen": True}),
    "x2": ("a dog", {}),
    "x3": ("東京の猫 ไทย", {"note": "नमस्ते"}),
    "boxes": ("glass of cities", {"big": 10**50}),
    "signs": ("Lego™ ℌi 5㎒ №5", {}),
    "sky": ("蓝色的天空下有一座教堂", {"note": "education"}),
    "day": ("天气很好,空气也好", {}),
    "kr": ("고양이가 소파에서 잔다", {}),
}


def put(things: Things, held: dict[str, tuple[str | None, Attributes]]) -> None:
    things.write(
        [replace(things.new(key, caption), attributes=attributes) for key, (caption, attributes) in held.items()]
    )


@pytest.fixture
def things(things: Things) -> Things:
    put(things, ITEMS)
    return things


@pytest.fixture
def empty(things: Things) -> Things:
    return things.beside("empty")


def ranked(things: Things, asked: str, where: str | None = None, most: int = 100) -> list[tuple[str, int]]:
    with things.database.read() as session:
        checked = filter_from_text(where) if where else None
        found = words.WordSearch(session, things.collection.id).ranked(asked, checked, most).tolist()
        held = items.by_ids(session, [item_id for item_id, _ in found])
    return [(held[item_id].key, rank) for item_id, rank in found]


def found(things: Things, asked: str) -> set[str]:
    return {key for key, _ in ranked(things, asked)}


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ("dog", {"pets/IMG_0042.jpg", "x2"}),
        ("DOGS", {"pets/IMG_0042.jpg", "x2"}),
        ("0042", {"pets/IMG_0042.jpg"}),
        ("img jpg", {"pets/IMG_0042.jpg"}),
        ("zurich", {"pets/IMG_0042.jpg"}),
        ("Zürich", {"pets/IMG_0042.jpg"}),
        ("1987", {"pets/IMG_0042.jpg"}),
        ("cafe", {"x1"}),
        ("koln katze", {"x1", "pets/cat.png"}),
        ("猫", {"x3"}),
        ("東京", {"x3"}),
        ("天空", {"sky"}),
        ("空天", set()),
        ("空", {"sky", "day"}),
        ("教堂的天空", {"sky"}),
        ("소파", {"kr"}),
        ("파에", {"kr"}),
        ("ทย", {"x3"}),
        ("ไทย", {"x3"}),
        ("cat", {"pets/cat.png"}),
        ("नमस्ते", {"x3"}),
        ("city", {"boxes"}),
        ("glass", {"boxes"}),
        ("legotm", {"signs"}),
        ("LEGO™", {"signs"}),
        ("hi 5mhz", {"signs"}),
        ("№5", {"signs"}),
        ("no5", {"signs"}),
        ("glas", set()),
        ("true", set()),
        ("town", set()),
        ("do", set()),
        ("OR", {"pets/cat.png"}),
        ("dog' & 'cat", {"pets/IMG_0042.jpg", "x2", "pets/cat.png"}),
        ('dog" OR "cat', {"pets/IMG_0042.jpg", "x2", "pets/cat.png"}),
        ("!!!", set()),
        ("@1", set()),
    ],
)
def test_a_word_is_found_whatever_its_case_accents_and_signs(things: Things, asked: str, keys: set[str]) -> None:
    assert found(things, asked) == keys


def test_more_and_rarer_words_come_first_and_equals_share_a_rank(things: Things) -> None:
    assert ranked(things, "red dog") == [("pets/IMG_0042.jpg", 1), ("pets/cat.png", 2), ("x2", 2)]
    assert ranked(things, "red basket dog")[0] == ("pets/cat.png", 1)
    assert ranked(things, "red dog", most=2) == [("pets/IMG_0042.jpg", 1), ("pets/cat.png", 2)]


def test_only_what_passes_a_filter_is_found(things: Things) -> None:
    assert ranked(things, "red dog", "not year exists") == [("pets/cat.png", 1), ("x2", 1)]
    assert ranked(things, "red dog", "year > 2000") == []


def test_collections_have_their_own_words(things: Things) -> None:
    other = things.beside("other")
    put(other, {"y": (f"a dog {things.collection.id}", {})})
    assert found(other, "dog") == {"y"}
    assert found(things, "dog") == {"pets/IMG_0042.jpg", "x2"}
    with things.database.write() as session:
        collections.delete(session, "other")
    assert found(other, "dog") == set()
    assert stale(things) == []


def stale(things: Things) -> list[str]:
    with things.database.read() as session:
        assert not WORDS.index_disagrees(session)
        return list(checks.stale_keys(session, things.head, WORDS))


def test_words_follow_every_write(things: Things) -> None:
    put(things, {"x2": ("a wolf", {"label": "grey"})})
    assert found(things, "dog") == {"pets/IMG_0042.jpg"}
    assert found(things, "wolf grey") == {"x2"}
    things.remove(["x2"])
    assert found(things, "wolf grey") == set()
    assert stale(things) == []


def test_an_item_may_hold_very_many_and_long_words(empty: Things) -> None:
    many = " ".join(f"w{number}{'ü' * 60}" for number in range(MAX_WORDS + 10))
    put(empty, {"long": (many, {"b": "x" * 3_000})})
    assert found(empty, "x" * 3_000) == set()
    assert found(empty, f"w7{'ü' * 60}") == {"long"}
    assert stale(empty) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(caption=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_an_item_is_indexed_by_the_words_of_any_text(empty: Things, caption: str) -> None:
    put(empty, {"any": (caption, {})})
    assert stale(empty) == []
    for word in words_of(caption):
        assert found(empty, word) == {"any"}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    caption=st.text(st.sampled_from("天空猫の東京タ가고양이ไทยสวน ,。"), min_size=1, max_size=12),
    words=st.lists(st.text(st.characters(categories=["Ll"], max_codepoint=0x24F), min_size=3, max_size=6), max_size=3),
)
def test_two_neighbours_find_a_text_without_spaces_and_only_whole_words_find_others(
    empty: Things, caption: str, words: list[str]
) -> None:
    put(empty, {"any": (" ".join([caption, *words]), {})})
    for pair in map("".join, pairwise(caption)):
        assert found(empty, pair) == ({"any"} if words_of(pair) else set())
    whole = {word for text in words for word in words_of(text)}
    for word in words:
        assert found(empty, word) == {"any"}
        assert found(empty, word[:2]) == ({"any"} if words_of(word[:2])[0] in whole else set())


def test_items_from_before_scripts_without_spaces_were_read_so_are_read_anew(things: Things) -> None:
    with things.database.read() as session:
        before = dict(session.execute(select(WordsRow.item_id, WordsRow.words)).all())
    with things.database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0018")
        old = dict(connection.execute(text("SELECT item_id, words FROM words")).all())
        key = "SELECT words FROM words JOIN items ON items.id = item_id WHERE key = 'x3'"
        assert connection.scalar(text(key)) == "x3 東 京 の 猫 ไทย नमसत"
    assert len(old.items() - before.items()) == 4, "of the items with such scripts alone"
    upgrade(things.database)
    assert stale(things) == []
    assert found(things, "天空") == {"sky"}


def test_items_from_before_there_were_words_get_them(things: Things) -> None:
    with things.database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0012")
    upgrade(things.database)
    assert stale(things) == []
    assert found(things, "zurich cafe") == {"pets/IMG_0042.jpg", "x1"}


def test_a_later_change_of_the_program_alters_nothing_that_the_migration_makes(
    things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    with things.database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0013")
    with monkeypatch.context() as changed:
        changed.setattr("anyseek.search.query.words.document", lambda *_: "other")
        changed.setattr("anyseek.search.query.words.words_of", lambda _: ["other"])
        changed.setattr("anyseek.search.catalogue.tables.INDEX_WORDS", {"sqlite": (), "postgresql": ()})
        upgrade(things.database)
    assert stale(things) == []
    assert found(things, "zurich legotm") == {"pets/IMG_0042.jpg", "signs"}


SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # PostgreSQL keeps its columns true


@SQLITE_ONLY
@pytest.mark.parametrize(
    "damage",
    ["key = x'ff'", "caption = x'ff'", "caption = CAST(x'ff' AS TEXT)", "attributes = 5", "attributes = '{'",
     "collection_id = 77"],
)  # fmt: skip
def test_a_damaged_item_keeps_no_other_from_getting_words(things: Things, damage: str) -> None:
    with things.database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0013")
    with things.database.engine.connect() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text(f"UPDATE items SET {damage} WHERE key = 'x2'"))
        connection.execute(text("PRAGMA foreign_keys=ON"))
    upgrade(things.database)
    assert found(things, "zurich cafe") == {"pets/IMG_0042.jpg", "x1"}


@SQLITE_ONLY
@pytest.mark.parametrize("damage", ["key = x'ff'", "caption = x'ff'", "attributes = 5"])
def test_damaged_items_are_not_asked_for_their_words(things: Things, damage: str) -> None:
    with things.database.write() as session:
        session.execute(text(f"UPDATE items SET {damage} WHERE key = 'x2'"))
    assert stale(things) == []
