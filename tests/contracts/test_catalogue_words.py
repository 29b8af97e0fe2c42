"""Full text finds the same items on every database, at every moment of an item's life."""

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from anyseek.search.catalogue import checks, collections, items, words
from anyseek.search.catalogue.derived_tables import WORDS
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import configuration, upgrade
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.query.words import MOST_WORDS, words_of
from anyseek.search.types import Attributes, Collection, NewItem
from tests.search.gallery import SPACES, WordsEmbedder, direction, make_collection

_INDEX = "INSERT INTO words_index"
ITEMS: dict[str, tuple[str | None, Attributes]] = {
    "pets/IMG_0042.jpg": ("Two red dogs, asleep", {"place": {"town": "Zürich"}, "year": 1987}),
    "pets/cat.png": ("a red cat's basket", {"keywords": ["Katze", "red 'quoted' OR"]}),
    "x1": (None, {"title": "Café in Köln", "rating": 3.5, "seen": True}),
    "x2": ("a dog", {}),
    "x3": ("東京の猫 ไทย", {"note": "नमस्ते"}),
    "boxes": ("glass of cities", {"big": 10**50}),
    "signs": ("Lego™ ℌi 5㎒ №5", {}),
}


def put(database: Database, collection: Collection, held: dict[str, tuple[str | None, Attributes]]) -> None:
    new = [
        NewItem(key, f"{key}{caption}", {space: direction(key, space) for space in SPACES}, caption, attributes)
        for key, (caption, attributes) in held.items()
    ]
    with database.write() as session:
        items.write(session, collection, new)


@pytest.fixture
def filled(database: Database, collection: Collection) -> Collection:
    put(database, collection, ITEMS)
    return collection


def ranked(
    database: Database, collection: Collection, asked: str, where: str | None = None, most: int = 100
) -> list[tuple[str, int]]:
    with database.read() as session:
        checked = filter_from_text(where) if where else None
        found = words.WordSearch(session, collection.id).ranked(asked, checked, most).tolist()
        held = items.by_ids(session, [item_id for item_id, _ in found])
    return [(held[item_id].key, rank) for item_id, rank in found]


def found(database: Database, collection: Collection, asked: str) -> set[str]:
    return {key for key, _ in ranked(database, collection, asked)}


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
        ("ไทย", {"x3"}),
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
def test_a_word_is_found_whatever_its_case_accents_and_signs(
    database: Database, filled: Collection, asked: str, keys: set[str]
) -> None:
    assert found(database, filled, asked) == keys


def test_more_and_rarer_words_come_first_and_equals_share_a_rank(database: Database, filled: Collection) -> None:
    assert ranked(database, filled, "red dog") == [("pets/IMG_0042.jpg", 1), ("pets/cat.png", 2), ("x2", 2)]
    assert ranked(database, filled, "red basket dog")[0] == ("pets/cat.png", 1)
    assert ranked(database, filled, "red dog", most=2) == [("pets/IMG_0042.jpg", 1), ("pets/cat.png", 2)]


def test_only_what_passes_a_filter_is_found(database: Database, filled: Collection) -> None:
    assert ranked(database, filled, "red dog", "not year exists") == [("pets/cat.png", 1), ("x2", 1)]
    assert ranked(database, filled, "red dog", "year > 2000") == []


def test_collections_have_their_own_words(database: Database, filled: Collection, embedder: WordsEmbedder) -> None:
    other = make_collection(database, embedder, "other")
    put(database, other, {"y": (f"a dog {filled.id}", {})})
    assert found(database, other, "dog") == {"y"}
    assert found(database, filled, "dog") == {"pets/IMG_0042.jpg", "x2"}
    with database.write() as session:
        collections.delete(session, "other")
    assert found(database, other, "dog") == set()
    assert stale(database, filled) == []


def stale(database: Database, collection: Collection) -> list[str]:
    with database.read() as session:
        assert not WORDS.index_disagrees(session)
        return list(checks.stale(session, collections.head(session, collection.name), WORDS))


def test_words_follow_every_write(database: Database, filled: Collection) -> None:
    put(database, filled, {"x2": ("a wolf", {"label": "grey"})})
    assert found(database, filled, "dog") == {"pets/IMG_0042.jpg"}
    assert found(database, filled, "wolf grey") == {"x2"}
    with database.write() as session:
        items.delete(session, filled, ["x2"])
    assert found(database, filled, "wolf grey") == set()
    assert stale(database, filled) == []


def test_an_item_may_hold_very_many_and_long_words(database: Database, collection: Collection) -> None:
    many = " ".join(f"w{number}{'ü' * 60}" for number in range(MOST_WORDS + 10))
    put(database, collection, {"long": (many, {"b": "x" * 3_000})})
    assert found(database, collection, "x" * 3_000) == set()
    assert found(database, collection, f"w7{'ü' * 60}") == {"long"}
    assert stale(database, collection) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(caption=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_an_item_is_indexed_by_the_words_of_any_text(database: Database, collection: Collection, caption: str) -> None:
    put(database, collection, {"any": (caption, {})})
    assert stale(database, collection) == []
    for word in words_of(caption):
        assert found(database, collection, word) == {"any"}


def test_items_from_before_there_were_words_get_them(database: Database, filled: Collection) -> None:
    with database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0012")
    upgrade(database)
    assert stale(database, filled) == []
    assert found(database, filled, "zurich cafe") == {"pets/IMG_0042.jpg", "x1"}


def test_a_later_change_of_the_program_alters_nothing_that_the_migration_makes(
    database: Database, filled: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0013")
    with monkeypatch.context() as changed:
        changed.setattr("anyseek.search.query.words.document", lambda *_: "other")
        changed.setattr("anyseek.search.query.words.words_of", lambda _: ["other"])
        changed.setattr("anyseek.search.catalogue.tables.INDEX_WORDS", {"sqlite": (), "postgresql": ()})
        upgrade(database)
    assert stale(database, filled) == []
    assert found(database, filled, "zurich legotm") == {"pets/IMG_0042.jpg", "signs"}


@pytest.mark.parametrize(
    "damage", ["key = x'ff'", "caption = x'ff'", "caption = CAST(x'ff' AS TEXT)", "attributes = 5", "attributes = '{'"]
)
def test_a_damaged_item_keeps_no_other_from_getting_words(database: Database, filled: Collection, damage: str) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL lets a column hold nothing but its type")
    with database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0013")
        connection.execute(text(f"UPDATE items SET {damage} WHERE key = 'x2'"))
    upgrade(database)
    assert found(database, filled, "zurich cafe") == {"pets/IMG_0042.jpg", "x1"}


def test_an_item_of_no_collection_keeps_no_other_from_getting_words(database: Database, filled: Collection) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps its foreign keys true itself")
    with database.engine.begin() as connection:
        command.downgrade(configuration(connection), "0013")
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("UPDATE items SET collection_id = 77 WHERE key = 'x2'"))
        connection.execute(text("PRAGMA foreign_keys=ON"))
    upgrade(database)
    assert found(database, filled, "zurich cafe") == {"pets/IMG_0042.jpg", "x1"}


@pytest.mark.parametrize("damage", ["key = x'ff'", "caption = x'ff'", "attributes = 5"])
def test_damaged_items_are_not_asked_for_their_words(database: Database, filled: Collection, damage: str) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL lets a column hold nothing but its type")
    with database.write() as session:
        session.execute(text(f"UPDATE items SET {damage} WHERE key = 'x2'"))
    assert stale(database, filled) == []
