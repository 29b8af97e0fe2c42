"""Facets and words that differ from their items are written anew before an answer, on every database."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from anyseek.search.catalogue import audit, checks, collections, derived, facets, items, log, words
from anyseek.search.catalogue.derived import Damage, survey
from anyseek.search.catalogue.derived_tables import FACETS, WORDS, DerivedTable
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import INDEX_WORDS
from anyseek.search.errors import StoreCorrupt
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Attributes, Collection, NewItem
from anyseek.search.upkeep import derived as trusting
from anyseek.search.upkeep.derived import DerivedRows
from tests.search.gallery import SPACES, direction, remove

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


def write(database: Database, collection: Collection, attributes: dict[str, Attributes] | None = None) -> None:
    vectors = {space: direction("x", space) for space in SPACES}
    given = ATTRIBUTES if attributes is None else attributes
    new = [NewItem(key, key, vectors, f"caption of {key}", held) for key, held in given.items()]
    with database.write() as session:
        items.write(session, collection, new)


def damage(database: Database, *statements: str) -> None:
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def damage_at_rest(database: Database, *statements: str) -> None:
    """Run statements as damage to SQLite's file does, without foreign keys and triggers."""
    added, removed = INDEX_WORDS["sqlite"][1:]
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DROP TRIGGER words_added")
        connection.exec_driver_sql("DROP TRIGGER words_removed")
        for statement in (*statements, added, removed):
            connection.execute(text(statement))
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()


def mend(database: Database, table: DerivedTable) -> Damage:
    """Survey and mend, after which nothing differs; what was found."""
    found = survey(database, table)
    derived.mend(database, table, found)
    assert not survey(database, table)
    return found


def answers(database: Database, collection: Collection) -> Found:
    """The keys that pass each filter, and that have a word."""
    with database.read() as session:
        ids = {where: facets.ids_where(session, collection.id, filter_from_text(where)).tolist() for where in QUESTIONS}
        ids["needle"] = words.WordSearch(session, collection.id).ranked("needle", None, 10)[:, 0].tolist()
        return {name: [items.by_ids(session, [one])[one].key for one in found] for name, found in ids.items()}


def differing(database: Database, table: DerivedTable) -> list[str]:
    found = survey(database, table)
    with database.read() as session:
        held = items.by_ids(session, [one for some in found.stale.values() for one in some])
    return sorted(item.key for item in held.values())


def mends(database: Database) -> list[tuple[str, str | None, str | None]]:
    with database.read() as session:
        found = audit.list_page(session, audit.Wanted(action="collection.mend"), None, 10)
    return [(entry.who, entry.collection, entry.target) for entry in found]


@pytest.mark.parametrize("table", [FACETS, WORDS], ids=["facets", "words"])
def test_nothing_differs_where_nothing_is_damaged(
    database: Database, collection: Collection, table: DerivedTable
) -> None:
    assert not survey(database, table)
    write(database, collection)
    counted: list[int] = []
    assert not survey(database, table, counted.append)
    assert sum(counted) == 3


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_facets_are_written_anew_before_the_first_answer(
    database: Database, collection: Collection, name: str
) -> None:
    write(database, collection)
    sound = answers(database, collection)
    statement, keys = DAMAGES[name]
    damage(database, statement)
    assert differing(database, FACETS) == sorted(keys)
    DerivedRows(database).facets.check()
    assert answers(database, collection) == sound
    with database.read() as session:
        assert list(checks.stale(session, collections.head(session, "things"), FACETS)) == []
    assert mends(database) == [("anyseek", "things", f"the attributes of {len(keys)} items")]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE words SET words = replace(words, 'needle', 'needlf')", "DELETE FROM words WHERE words LIKE '%needle%'"],
)
def test_damaged_words_are_written_anew_before_the_first_answer(
    database: Database, collection: Collection, statement: str
) -> None:
    write(database, collection)
    sound = answers(database, collection)
    damage(database, statement)
    assert differing(database, WORDS) == ["a"]
    DerivedRows(database).words.check()
    assert answers(database, collection) == sound
    assert not survey(database, WORDS)


def test_only_the_items_that_differ_are_written_and_told_to_other_processes(
    database: Database, collection: Collection
) -> None:
    write(database, collection)
    with database.read() as session:
        before = collections.head(session, "things").last_seq
        a = items.get(session, collection, "a")
        others = session.execute(text(f"SELECT * FROM facets WHERE item_id <> {a.id} ORDER BY id")).all()
    damage(database, DAMAGES["text"][0])
    DerivedRows(database).facets.check()
    with database.read() as session:
        assert log.items_after(session, collection.id, before) == {a.id}
        assert items.get(session, collection, "a") == a
        assert session.execute(text(f"SELECT * FROM facets WHERE item_id <> {a.id} ORDER BY id")).all() == others


def test_an_item_whose_own_row_is_damaged_keeps_its_facets(database: Database, collection: Collection) -> None:
    write(database, collection)
    sound = answers(database, collection)
    damage(database, "UPDATE items SET caption = 'other' WHERE key = 'a'")
    damage(database, DAMAGES["number"][0])
    DerivedRows(database).facets.check()
    assert answers(database, collection) == sound
    assert mends(database) == [("anyseek", "things", "the attributes of 1 items")]


@pytest.mark.parametrize("table", [FACETS, WORDS], ids=["facets", "words"])
def test_what_is_written_meanwhile_is_not_damage(
    database: Database, collection: Collection, table: DerivedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "CHUNK", 1)
    write(database, collection)

    def write_more(_count: int) -> None:
        write(database, collection, {"b": {"size": 1}, "c": {"label": "changed"}, "d": {"size": 8}})
        remove(database, collection, ["a"])

    assert not survey(database, table, write_more)
    assert not survey(database, table)


def test_a_collection_deleted_meanwhile_is_left_alone(database: Database, collection: Collection) -> None:
    write(database, collection)
    damage(database, DAMAGES["text"][0])
    found = survey(database, FACETS)
    with database.write() as session:
        collections.delete(session, "things")
    derived.mend(database, FACETS, found)
    assert mends(database) == []


def test_an_item_without_a_checksum_is_left_to_verify(database: Database, collection: Collection) -> None:
    """It may be the item that is damaged, and then its facets are right."""
    write(database, collection)
    damage(database, "UPDATE items SET checksum = NULL, caption = 'other'", DAMAGES["text"][0])
    assert not survey(database, FACETS)
    assert not survey(database, WORDS)
    with database.read() as session:
        ids = collections.item_ids(session, collection.id)
        assert list(checks.stale(session, collections.head(session, "things"), FACETS)) == ["a"]
    derived.mend(database, FACETS, Damage(False, {collection.id: sorted(ids)}, []))
    assert mends(database) == []


def test_damage_that_cannot_be_mended_refuses_until_it_is(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, collection)
    damage(database, DAMAGES["text"][0])
    rows = DerivedRows(database)

    def refuse(*call: object) -> None:
        if str(call[2]).startswith("DELETE"):
            raise OperationalError(str(call[2]), {}, Exception("attempt to write a readonly database"))

    event.listen(database.engine, "before_cursor_execute", refuse)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match=r"attributes of 1 items are damaged .* cannot be mended here .*rebuild"):
            rows.facets.check()
    rows.words.check()
    event.remove(database.engine, "before_cursor_execute", refuse)
    monkeypatch.setattr(rows.facets, "_try_again_at", 0.0)
    rows.facets.check()
    assert differing(database, FACETS) == []


def test_many_that_ask_at_once_have_it_compared_once(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, collection)
    compared: list[object] = []

    def count(*given: object) -> object:
        compared.append(given)
        return survey(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(derived, "survey", count)
    rows = DerivedRows(database)
    threads = [threading.Thread(target=rows.facets.check) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(compared) == 1


def test_many_items_are_compared_beside_answers(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusting, "AT_ONCE", 2)
    write(database, collection)
    damage(database, DAMAGES["text"][0])
    forgotten: list[int] = []
    facet_rows = DerivedRows(database, lambda: forgotten.append(1)).facets
    assert not facet_rows.is_due(60)  # nobody has asked
    facet_rows.check()
    assert differing(database, FACETS) == ["a"]
    assert facet_rows.is_due(60)
    closing = threading.Event()
    closing.set()
    facet_rows.compare_beside(closing)
    assert facet_rows.is_due(60)  # it was not ended
    closing.clear()
    facet_rows.compare_beside(closing)
    assert differing(database, FACETS) == []
    assert forgotten == [1]
    assert not facet_rows.is_due(60)
    assert not facet_rows.is_due(0)
    assert facet_rows.is_due(1e-9)


SQLITE_ONLY = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@SQLITE_ONLY
@pytest.mark.parametrize("column", ["text", "path"])
def test_a_text_that_is_none_is_written_anew(database: Database, collection: Collection, column: str) -> None:
    write(database, collection)
    sound = answers(database, collection)
    damage(database, f"UPDATE facets SET {column} = CAST(x'6eff65' AS TEXT) WHERE text = 'needle'")
    damage(database, "UPDATE items SET caption = CAST(x'6eff65' AS TEXT) WHERE key = 'c'")
    rows = DerivedRows(database)
    rows.facets.check()
    assert answers_but_c(database, collection) == {
        where: [key for key in sound[where] if key != "c"] for where in sound
    }
    assert mends(database) == [("anyseek", "things", "the attributes of 1 items")]


def answers_but_c(database: Database, collection: Collection) -> Found:
    damage(database, "UPDATE items SET caption = NULL WHERE key = 'c'")
    return {where: [key for key in keys if key != "c"] for where, keys in answers(database, collection).items()}


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
def test_rows_and_index_of_words_that_disagree_are_made_anew(
    database: Database, collection: Collection, statement: str, stale: str
) -> None:
    write(database, collection)
    sound = answers(database, collection)
    damage_at_rest(database, statement)
    assert differing(database, WORDS) == list(stale)
    assert mend(database, WORDS).in_index
    assert answers(database, collection) == sound
    damage(database, "INSERT INTO words_index (words_index, rank) VALUES ('integrity-check', 1)")  # raises if not whole


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
    database: Database, collection: Collection, table: DerivedTable, statement: str
) -> None:
    write(database, collection)
    many = "WITH RECURSIVE many (n) AS (SELECT 10000 UNION ALL SELECT n + 1 FROM many LIMIT 1200) "
    damage_at_rest(database, many + statement)
    mend(database, table)
    removed = [target for _, name, target in mends(database) if name is None and target and "gone" in target]
    assert removed == [f"the {table.name} of {count} items that are gone" for count in (200, 500, 500)]


@SQLITE_ONLY
def test_rows_of_lost_items_are_kept_and_a_number_that_is_made_a_text_is_mended(
    database: Database, collection: Collection
) -> None:
    write(database, collection)
    lost = "DELETE FROM items WHERE key = 'b'"
    damage_at_rest(database, lost, "UPDATE facets SET item_id = 'x' WHERE path = 'size' AND number = 3")
    mend(database, FACETS)
    with database.read() as session:
        assert FACETS.strays(session) == [2]  # an answer that finds it says that it is left out
        assert facets.ids_where(session, collection.id, filter_from_text("size = 3")).tolist() == [1]


@SQLITE_ONLY
def test_a_number_that_an_item_has_got_meanwhile_keeps_its_rows(database: Database, collection: Collection) -> None:
    write(database, collection)
    derived.mend(database, FACETS, Damage(False, {}, [1]))
    assert mends(database) == []
    assert not survey(database, FACETS)


def test_postgresql_is_not_asked_for_rows_without_items() -> None:
    """Its foreign keys admit none, and the question takes it hours where there are very many items."""
    with Session(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")) as session:
        assert FACETS.strays(session) == WORDS.strays(session) == []


@SQLITE_ONLY
def test_every_flipped_text_in_the_database_changes_no_filter(
    database: Database, collection: Collection, tmp_path: Path
) -> None:
    """In rows and in each index alike: 'needle' is made 'nefdle' wherever it stands, one place at a time."""
    write(database, collection, {**ATTRIBUTES, **{f"k{n}": {"label": f"k{n}", "size": n} for n in range(40)}})
    sound = answers(database, collection)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    path = Path(str(database.engine.url.database))
    whole = path.read_bytes()
    places = [place for place in range(len(whole)) if whole.startswith(b"needle", place)]
    found = [flipped(tmp_path / "flipped.sqlite", whole, place, collection) for place in places]
    assert len(places) >= 4
    assert all(each in (sound, "left out") for each in found)
    assert found.count(sound) >= 3


def flipped(path: Path, whole: bytes, place: int, collection: Collection) -> Found | str:
    """The answers by a database with a flipped byte; only those for sound items count."""
    for beside in path.parent.glob(f"{path.name}*"):
        beside.unlink()
    path.write_bytes(whole[: place + 2] + b"f" + whole[place + 3 :])
    database = Database(f"sqlite:///{path}")
    rows = DerivedRows(database)
    rows.facets.check()
    rows.words.check()
    with database.read() as session:
        is_damaged = any(checks.damaged_items(session, collections.head(session, "things")))
    found = answers(database, collection)
    with database.read() as session:
        assert is_damaged or list(checks.database_faults(session)) == []
    database.close()
    return "left out" if is_damaged else found
