"""Facets and words that differ from their items are written anew before an answer, on every database."""

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from anyseek.search.catalogue import audit, checks, collections, derived, facets, items, log, words
from anyseek.search.catalogue.derived import Damage, find_damage
from anyseek.search.catalogue.derived_tables import FACETS, WORDS, DerivedTable
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import INDEX_WORDS
from anyseek.search.errors import StoreCorrupt
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Attributes, NewItem
from anyseek.search.upkeep import derived as trusting
from anyseek.search.upkeep.derived import ConsistencyMonitor
from tests.search.gallery import SPACES, Things, direction

ATTRIBUTES: dict[str, Attributes] = {
    "a": {"size": 3, "label": "needle", "sound": True, "taken": "2021-03-04", "place": {"lat": 1.5, "lon": -0.0}},
    "b": {"size": 70, "label": "straw", "sound": False, "taken": "2022-03-04", "place": {"lat": 2.5, "lon": 7}},
    "c": {"size": [4, 5], "label": ["straw", "näht"], "other": {"size": 1}},
}
# What is damaged, and the items that differ for it.
DAMAGES = {
    "number": ("UPDATE facets SET number = 12 WHERE path = 'size' AND number = 70", "b"),
    "text": ("UPDATE facets SET text = 'needlf' WHERE text = 'needle'", "a"),
    "truth": ("UPDATE facets SET truth = NOT truth WHERE path = 'sound'", "ab"),
    "moment": ("UPDATE facets SET moment = moment + 1 WHERE path = 'taken'", "ab"),
    "item": ("UPDATE facets SET item_id = (SELECT max(id) FROM items) WHERE path = 'size' AND number = 3", "ac"),
    "path": ("UPDATE facets SET path = 'sizf' WHERE path = 'size' AND number = 3", "a"),
    "lost": ("DELETE FROM facets WHERE path = 'label' AND text = 'straw'", "bc"),
    "doubled": ("UPDATE facets SET number = 4 WHERE path = 'size' AND number = 5", "c"),
}
QUESTIONS = ("size >= 60", "label = needle", "label starts with str", "sound = true", "size exists", "not size < 60")
Found = dict[str, list[str]]


def put(things: Things, attributes: dict[str, Attributes] | None = None) -> None:
    vectors = {space: direction("x", space) for space in SPACES}
    given = ATTRIBUTES if attributes is None else attributes
    things.write([NewItem(key, key, vectors, f"caption of {key}", held) for key, held in given.items()])


def damage(things: Things, *statements: str) -> None:
    with things.database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def damage_at_rest(things: Things, *statements: str) -> None:
    """Run statements as damage to SQLite's file does, without foreign keys and triggers."""
    added, removed = INDEX_WORDS["sqlite"][1:]
    with things.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DROP TRIGGER words_added")
        connection.exec_driver_sql("DROP TRIGGER words_removed")
        for statement in (*statements, added, removed):
            connection.execute(text(statement))
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()


def mend(things: Things, table: DerivedTable) -> Damage:
    """Survey and mend, after which nothing differs; what was found."""
    found = find_damage(things.database, table)
    derived.repair(things.database, table, found)
    assert not find_damage(things.database, table)
    return found


def answers(things: Things) -> Found:
    """The keys that pass each filter, and that have a word."""
    with things.database.read() as session:
        ids = {
            where: facets.matching_ids(session, things.collection.id, filter_from_text(where)).tolist()
            for where in QUESTIONS
        }
        ids["needle"] = words.WordSearch(session, things.collection.id).ranked("needle", None, 10)[:, 0].tolist()
        return {name: [items.by_ids(session, [one])[one].key for one in found] for name, found in ids.items()}


def differing(things: Things, table: DerivedTable) -> list[str]:
    found = find_damage(things.database, table)
    with things.database.read() as session:
        held = items.by_ids(session, [one for some in found.stale.values() for one in some])
    return sorted(item.key for item in held.values())


def mends(things: Things) -> list[tuple[str, str | None, str | None]]:
    with things.database.read() as session:
        found = audit.list_page(session, audit.EntryFilter(action="collection.mend"), None, 10)
    return [(entry.who, entry.collection, entry.target) for entry in found]


@pytest.mark.parametrize("table", [FACETS, WORDS], ids=["facets", "words"])
def test_nothing_differs_where_nothing_is_damaged(things: Things, table: DerivedTable) -> None:
    assert not find_damage(things.database, table)
    put(things)
    counted: list[int] = []
    assert not find_damage(things.database, table, counted.append)
    assert sum(counted) == 3


@pytest.mark.parametrize(
    ("table", "statement", "keys"),
    [
        *(pytest.param(FACETS, *what, id=name) for name, what in DAMAGES.items()),
        pytest.param(WORDS, "UPDATE words SET words = replace(words, 'needle', 'needlf')", "a", id="word"),
        pytest.param(WORDS, "DELETE FROM words WHERE words LIKE '%needle%'", "a", id="lost words"),
    ],
)
def test_what_is_damaged_is_written_anew_before_the_first_answer(
    things: Things, table: DerivedTable, statement: str, keys: str
) -> None:
    put(things)
    sound = answers(things)
    damage(things, statement)
    assert differing(things, table) == sorted(keys)
    rows = ConsistencyMonitor(things.database)
    (rows.facets if table is FACETS else rows.words).check()
    assert answers(things) == sound
    with things.database.read() as session:
        assert list(checks.stale_keys(session, things.head, table)) == []
    assert ("anyseek", "things", f"the {table.name} of {len(keys)} items") in mends(things)


def test_only_the_items_that_differ_are_written_and_told_to_other_processes(things: Things) -> None:
    put(things)
    before, a = things.head.last_seq, things.item("a")
    with things.database.read() as session:
        others = session.execute(text(f"SELECT * FROM facets WHERE item_id <> {a.id} ORDER BY id")).all()
    damage(things, DAMAGES["text"][0])
    ConsistencyMonitor(things.database).facets.check()
    with things.database.read() as session:
        assert log.items_after(session, things.collection.id, before) == {a.id}
        assert things.item("a") == a
        assert session.execute(text(f"SELECT * FROM facets WHERE item_id <> {a.id} ORDER BY id")).all() == others


def test_an_item_whose_own_row_is_damaged_keeps_its_facets(things: Things) -> None:
    put(things)
    sound = answers(things)
    damage(things, "UPDATE items SET caption = 'other' WHERE key = 'a'")
    damage(things, DAMAGES["number"][0])
    ConsistencyMonitor(things.database).facets.check()
    assert answers(things) == sound
    assert mends(things) == [("anyseek", "things", "the attributes of 1 items")]


@pytest.mark.parametrize("table", [FACETS, WORDS], ids=["facets", "words"])
def test_what_is_written_meanwhile_is_not_damage(
    things: Things, table: DerivedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "CHUNK", 1)
    put(things)

    def write_more(_count: int) -> None:
        put(things, {"b": {"size": 1}, "c": {"label": "changed"}, "d": {"size": 8}})
        things.remove(["a"])

    assert not find_damage(things.database, table, write_more)
    assert not find_damage(things.database, table)


def test_a_collection_deleted_meanwhile_is_left_alone(things: Things) -> None:
    put(things)
    damage(things, DAMAGES["text"][0])
    found = find_damage(things.database, FACETS)
    with things.database.write() as session:
        collections.delete(session, "things")
    derived.repair(things.database, FACETS, found)
    assert mends(things) == []


def test_an_item_without_a_checksum_is_left_to_verify(things: Things) -> None:
    """It may be the item that is damaged, and then its facets are right."""
    put(things)
    damage(things, "UPDATE items SET checksum = NULL, caption = 'other'", DAMAGES["text"][0])
    assert not find_damage(things.database, FACETS)
    assert not find_damage(things.database, WORDS)
    with things.database.read() as session:
        ids = collections.item_ids(session, things.collection.id)
        assert list(checks.stale_keys(session, things.head, FACETS)) == ["a"]
    derived.repair(things.database, FACETS, Damage(False, {things.collection.id: sorted(ids)}, []))
    assert mends(things) == []


def test_damage_that_cannot_be_mended_refuses_until_it_is(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    put(things)
    damage(things, DAMAGES["text"][0])
    rows = ConsistencyMonitor(things.database)

    def refuse(*call: object) -> None:
        if str(call[2]).startswith("DELETE"):
            raise OperationalError(str(call[2]), {}, Exception("attempt to write a readonly database"))

    event.listen(things.database.engine, "before_cursor_execute", refuse)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match=r"attributes of 1 items are damaged .* cannot be mended here .*rebuild"):
            rows.facets.check()
    rows.words.check()
    event.remove(things.database.engine, "before_cursor_execute", refuse)
    monkeypatch.setattr(rows.facets, "_retry_at", 0.0)
    rows.facets.check()
    assert differing(things, FACETS) == []


def test_many_that_ask_at_once_have_it_compared_once(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    put(things)
    compared: list[object] = []

    def count(*given: object) -> object:
        compared.append(given)
        return find_damage(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(derived, "find_damage", count)
    rows = ConsistencyMonitor(things.database)
    threads = [threading.Thread(target=rows.facets.check) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(compared) == 1


def test_many_items_are_compared_beside_answers(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusting, "MAX_FOREGROUND_ITEMS", 2)
    put(things)
    damage(things, DAMAGES["text"][0])
    forgotten: list[int] = []
    facet_rows = ConsistencyMonitor(things.database, lambda: forgotten.append(1)).facets
    assert not facet_rows.is_due(60)  # nobody has asked
    facet_rows.check()
    assert differing(things, FACETS) == ["a"]
    assert facet_rows.is_due(60)
    closing = threading.Event()
    closing.set()
    facet_rows.compare_in_background(closing)
    assert facet_rows.is_due(60)  # it was not ended
    closing.clear()
    facet_rows.compare_in_background(closing)
    assert differing(things, FACETS) == []
    assert forgotten == [1]
    assert not facet_rows.is_due(60)
    assert not facet_rows.is_due(0)
    assert facet_rows.is_due(1e-9)


SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@SQLITE_ONLY
@pytest.mark.parametrize("column", ["text", "path"])
def test_a_text_that_is_none_is_written_anew(things: Things, column: str) -> None:
    put(things)
    sound = answers(things)
    damage(things, f"UPDATE facets SET {column} = CAST(x'6eff65' AS TEXT) WHERE text = 'needle'")
    damage(things, "UPDATE items SET caption = CAST(x'6eff65' AS TEXT) WHERE key = 'c'")
    rows = ConsistencyMonitor(things.database)
    rows.facets.check()
    assert answers_but_c(things) == {where: [key for key in sound[where] if key != "c"] for where in sound}
    assert mends(things) == [("anyseek", "things", "the attributes of 1 items")]


def answers_but_c(things: Things) -> Found:
    damage(things, "UPDATE items SET caption = NULL WHERE key = 'c'")
    return {where: [key for key in keys if key != "c"] for where, keys in answers(things).items()}


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("statement", "stale"),
    [
        ("UPDATE words SET words = replace(words, 'needle', 'straw')", "a"),
        ("UPDATE words SET words = 'words that are many more than there were' WHERE words LIKE '%needle%'", "a"),
        ("UPDATE words SET words = CAST(x'6eff65' AS TEXT) WHERE words LIKE '%needle%'", "a"),
        ("UPDATE words SET collection_id = 7 WHERE words LIKE '%needle%'", "a"),
        ("UPDATE words SET item_id = 77 WHERE item_id = 2", "b"),
        ("DELETE FROM words WHERE words LIKE '%needle%'", "a"),
        (
            "INSERT INTO words_index (words_index, rowid, collection_id, words) "
            "SELECT 'delete', item_id, collection_id, words FROM words WHERE item_id = 2",
            "",
        ),
        ("INSERT INTO words_index (rowid, collection_id, words) VALUES (77, 1, 'wolf')", ""),
    ],
)
def test_rows_and_index_of_words_that_disagree_are_made_anew(things: Things, statement: str, stale: str) -> None:
    put(things)
    sound = answers(things)
    damage_at_rest(things, statement)
    assert differing(things, WORDS) == list(stale)
    assert mend(things, WORDS).in_index
    assert answers(things) == sound
    whole = "INSERT INTO words_index (words_index, rank) VALUES ('integrity-check', 1)"
    damage(things, whole)  # raises if it is not


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("table", "statement"),
    [
        (FACETS, "INSERT INTO facets (collection_id, item_id, path, number) SELECT 1, n, 'size', n FROM many"),
        (WORDS, "INSERT INTO words (collection_id, item_id, words) SELECT 1, n, 'word' FROM many"),
    ],
    ids=["facets", "words"],
)
def test_rows_of_many_items_that_are_gone_are_removed_in_turns(
    things: Things, table: DerivedTable, statement: str
) -> None:
    put(things)
    many = "WITH RECURSIVE many (n) AS (SELECT 10000 UNION ALL SELECT n + 1 FROM many LIMIT 1200) "
    damage_at_rest(things, many + statement)
    mend(things, table)
    removed = [target for _, name, target in mends(things) if name is None and target and "gone" in target]
    assert removed == [f"the {table.name} of {count} items that are gone" for count in (200, 500, 500)]


@SQLITE_ONLY
def test_rows_of_lost_items_are_kept_and_a_number_that_is_made_a_text_is_mended(things: Things) -> None:
    put(things)
    lost = "DELETE FROM items WHERE key = 'b'"
    damage_at_rest(things, lost, "UPDATE facets SET item_id = 'x' WHERE path = 'size' AND number = 3")
    mend(things, FACETS)
    with things.database.read() as session:
        assert FACETS.orphans(session) == [2]  # an answer that finds it says that it is left out
        assert facets.matching_ids(session, things.collection.id, filter_from_text("size = 3")).tolist() == [1]


@SQLITE_ONLY
def test_a_number_that_an_item_has_got_meanwhile_keeps_its_rows(things: Things) -> None:
    put(things)
    derived.repair(things.database, FACETS, Damage(False, {}, [1]))
    assert mends(things) == []
    assert not find_damage(things.database, FACETS)


def test_postgresql_is_not_asked_for_rows_without_items() -> None:
    """Its foreign keys admit none, and the question takes it hours where there are very many items."""
    with Session(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")) as session:
        assert FACETS.orphans(session) == WORDS.orphans(session) == []


@SQLITE_ONLY
def test_every_flipped_text_in_the_database_changes_no_filter(things: Things, tmp_path: Path) -> None:
    """In rows and in each index alike: 'needle' is made 'nefdle' wherever it stands, one place at a time."""
    put(things, {**ATTRIBUTES, **{f"k{n}": {"label": f"k{n}", "size": n} for n in range(40)}})
    sound = answers(things)
    with things.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    things.database.close()
    path = Path(str(things.database.engine.url.database))
    whole = path.read_bytes()
    places = [place for place in range(len(whole)) if whole.startswith(b"needle", place)]
    found = [flipped(tmp_path / "flipped.sqlite", whole, place, things) for place in places]
    assert len(places) >= 4
    assert all(each in (sound, "left out") for each in found)
    assert found.count(sound) >= 3


def flipped(path: Path, whole: bytes, place: int, things: Things) -> Found | str:
    """The answers by a database with a flipped byte; only those for sound items count."""
    for beside in path.parent.glob(f"{path.name}*"):
        beside.unlink()
    path.write_bytes(whole[: place + 2] + b"f" + whole[place + 3 :])
    with closing(Database(f"sqlite:///{path}")) as database:
        rows = ConsistencyMonitor(database)
        rows.facets.check()
        rows.words.check()
        with database.read() as session:
            is_damaged = any(checks.damaged_items(session, things.head))
        found = answers(replace(things, database=database))
        with database.read() as session:
            assert is_damaged or list(checks.database_faults(session)) == []
    return "left out" if is_damaged else found
