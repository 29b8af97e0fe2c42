"""A filter or a count never goes by damaged facets, whatever of them is damaged and wherever, and says so."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from search.catalogue import checks, collections, facet_counts, facet_sums, facets, items, listing, patching
from search.catalogue.facet_sums import AGAIN_AFTER, ALL, Paths, Reading
from search.catalogue.session import Database
from search.catalogue.tables import FacetSumRow
from search.errors import StoreCorrupt
from search.filters.from_text import filter_from_text
from search.types import Attributes, Collection, NewItem
from tests.search.gallery import SPACES, WordsEmbedder, direction, make_collection, open_catalogue

ATTRIBUTES: dict[str, Attributes] = {
    "a": {"size": 3, "label": "needle", "sound": True, "taken": "2021-03-04", "place": {"lat": 1.5, "lon": -0.0}},
    "b": {"size": 70, "label": "straw", "sound": False, "taken": "2022-03-04", "place": {"lat": 2.5, "lon": 7}},
    "c": {"size": [4, 5], "label": ["straw", "näht"], "other": {"size": 1}},
}
DAMAGES = {
    "number": "UPDATE facets SET number = 12 WHERE path = 'size' AND number = 70",
    "text": "UPDATE facets SET text = 'needlf' WHERE text = 'needle'",
    "truth": "UPDATE facets SET truth = NOT truth WHERE path = 'sound'",
    "moment": "UPDATE facets SET moment = moment + 1 WHERE path = 'taken'",
    "item": "UPDATE facets SET item_id = item_id + 1 WHERE path = 'size' AND number = 3",
    "path": "UPDATE facets SET path = 'sizf' WHERE path = 'size' AND number = 3",
    "lost": "DELETE FROM facets WHERE path = 'label' AND text = 'straw'",
    "the sum": "UPDATE facet_sums SET total = total + 1 WHERE path = 'size'",
}
# A question of each way to read the facets at a path, by the damages that it must notice.
QUESTIONS = {
    "size >= 60": {"number", "item", "path", "the sum"},
    "label = needle": {"text", "lost"},
    "label starts with str": {"text", "lost"},
    "size in (3, needle)": {"number", "item", "path", "the sum"},
    "sound = true": {"truth"},
    "size exists": {"number", "item", "path", "the sum"},
    "other exists": set[str](),
    "taken >= 2022-01-01": {"moment"},
}


def write(database: Database, collection: Collection, attributes: dict[str, Attributes]) -> None:
    vectors = {space: direction("x", space) for space in SPACES}
    with database.write() as session:
        items.write(session, collection, [NewItem(key, key, vectors, None, given) for key, given in attributes.items()])


def ids(database: Database, collection: Collection, where: str, among: bool) -> list[int]:
    """What passes a filter, as a process that has just been started finds it."""
    facet_sums._checked.clear()
    with database.read() as session:
        every = facets.ids_where(session, collection.id, filter_from_text("@key exists"))
        found = facets.ids_where(session, collection.id, filter_from_text(where), every if among else None)
    return found.tolist()


def counted(database: Database, collection: Collection, where: str | None) -> list[str]:
    facet_sums._checked.clear()
    with database.read() as session:
        wanted = None if where is None else filter_from_text(where)
        return [str(each) for each in facet_counts.count(session, collection.id, 20, 20, wanted)]


def differing(database: Database, collection: Collection) -> list[str]:
    """The paths that any way of reading finds to be wrong."""
    with database.read() as session:
        found = [facet_sums.differing(session, collection.id, reading) for reading in (Reading.ROWS, Reading.ITEMS)]
        for kind in facet_sums.KINDS:
            found.append(facet_sums.differing(session, collection.id, Reading.VALUES, ALL, kind))
    return [path for paths in found for path in paths]


def damage(database: Database, kind: str) -> None:
    with database.write() as session:
        session.execute(text(DAMAGES[kind]))


@pytest.mark.parametrize("among", [False, True])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_filter_is_refused_if_what_it_compares_is_damaged(
    database: Database, collection: Collection, kind: str, among: bool
) -> None:
    write(database, collection, ATTRIBUTES)
    before = {where: ids(database, collection, where, among) for where in QUESTIONS}
    assert all(before.values())
    damage(database, kind)
    for where, noticed in QUESTIONS.items():
        if kind in noticed:
            with pytest.raises(StoreCorrupt, match="anyseek rebuild things"):
                ids(database, collection, where, among)
        elif not among:  # rows are read whole by then, so what is damaged beside the value counts, too
            assert ids(database, collection, where, among) == before[where]
    with database.write() as session:
        checks.settle(session, collections.head(session, collection.name), [])
    assert {where: ids(database, collection, where, among) for where in QUESTIONS} == before


@pytest.mark.parametrize("where", [None, "@key exists"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_count_is_refused_if_what_it_counts_is_damaged(
    database: Database, collection: Collection, kind: str, where: str | None
) -> None:
    write(database, collection, ATTRIBUTES)
    before = counted(database, collection, where)
    damage(database, kind)
    with pytest.raises(StoreCorrupt, match=r"the values of the attribute '\w+' of the collection 'things' are damaged"):
        counted(database, collection, where)
    with database.read() as session:
        assert checks.damaged_facets(session, collections.head(session, collection.name))
    with database.write() as session:
        checks.settle(session, collections.head(session, collection.name), [])
    assert counted(database, collection, where) == before


def test_groups_and_lists_by_date_are_refused(database: Database, collection: Collection) -> None:
    write(database, collection, ATTRIBUTES)
    for kind in ("text", "moment"):
        damage(database, kind)
    facet_sums._checked.clear()
    with database.read() as session:
        every = items.ids_after(session, collection.id, 0, 10)
        with pytest.raises(StoreCorrupt, match="'label'"):
            facets.values_of(session, collection.id, "label", every)
        with pytest.raises(StoreCorrupt, match="'taken'"):
            listing.page(session, collection, listing.Order.NEWEST, None, 10)
        assert len(listing.page(session, collection, listing.Order.KEY, None, 10)) == 3


def test_a_facet_in_another_collection_is_missed_by_its_own_and_mended(
    database: Database, collection: Collection, embedder: WordsEmbedder
) -> None:
    other = make_collection(database, embedder, "others")
    for each in (collection, other):
        write(database, each, ATTRIBUTES if each is collection else {"z": {"size": 1}})
    with database.write() as session:
        moved = text("UPDATE facets SET collection_id = :to WHERE collection_id = :of AND number = 70")
        session.execute(moved, {"to": other.id, "of": collection.id})
    for each in (collection, other):
        with pytest.raises(StoreCorrupt, match=f"rebuild {each.name}"):
            ids(database, each, "size > 0", among=False)
    with database.write() as session:
        for each in (collection, other):
            checks.settle(session, collections.head(session, each.name), [])
    assert len(ids(database, collection, "size > 0", among=False)) == 3
    assert len(ids(database, other, "size > 0", among=False)) == 1


def test_sums_follow_whatever_is_written(database: Database, collection: Collection) -> None:
    chosen = random.Random(3)
    for _ in range(12):
        keys = chosen.sample("abcdefgh", 4)
        write(database, collection, {key: {"n": chosen.random(), **ATTRIBUTES[chosen.choice("abc")]} for key in keys})
        with database.write() as session:
            items.delete(session, collection, chosen.sample("abcdefgh", 2))
        with database.write() as session:
            held = items.list_page(session, collection, None, 1)[0]
            patching.change_attributes(session, collection, held.key, lambda old: {**old, "patched": [1, "2020-01-01"]})
        assert differing(database, collection) == []
    with database.write() as session:
        items.delete(session, collection, list("abcdefgh"))
        assert session.scalar(select(func.count()).select_from(FacetSumRow)) == 0


def test_sums_are_deleted_with_their_collection(database: Database, collection: Collection) -> None:
    write(database, collection, ATTRIBUTES)
    with database.write() as session:
        collections.delete(session, collection.name)
        assert session.scalar(select(func.count()).select_from(FacetSumRow)) == 0


def test_facets_are_read_once_and_again_after_a_while(database: Database, collection: Collection) -> None:
    write(database, collection, ATTRIBUTES)

    def check(seconds: float) -> None:
        with database.read() as session:
            facet_sums.check(session, collection.id, Reading.ROWS, ALL, clock=lambda: seconds)

    check(0.0)
    damage(database, "number")
    check(AGAIN_AFTER - 1)
    for _ in range(2):  # what is damaged is not remembered as anything else
        with pytest.raises(StoreCorrupt):
            check(AGAIN_AFTER + 1)


def test_any_number_of_paths_takes_little_room(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facet_sums, "_MOST_KEPT", 5)
    with database.read() as session:
        for number in range(20):
            facet_sums.check(session, collection.id, Reading.VALUES, Paths((f"p{number}",)), facet_sums.TEXT)
    assert len(facet_sums._checked[database.engine]) <= 5


def test_every_place_of_a_value_in_the_file_is_noticed(tmp_path: Path, embedder: WordsEmbedder) -> None:
    """SQLite has a text in a row and in an index, and reads it now from the one, now from the other."""
    _, database = open_catalogue(tmp_path)
    collection = make_collection(database, embedder)
    write(database, collection, ATTRIBUTES)
    asked: dict[str, Callable[[Database], Any]] = {
        "filter": lambda database: ids(database, collection, "label = needle", among=False),
        "filter among some": lambda database: ids(database, collection, "label = needle", among=True),
        "counts": lambda database: counted(database, collection, None),
        "counts of some": lambda database: counted(database, collection, "size >= 1"),
    }
    right = {name: ask(database) for name, ask in asked.items()}
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    file = tmp_path / "catalogue.sqlite"
    sound, refused = file.read_bytes(), set[str]()
    places = [place for place in range(len(sound)) if sound.startswith(b"needle", place)]
    assert len(places) >= 2
    for place in places:
        file.write_bytes(sound[: place + 3] + bytes([sound[place + 3] ^ 1]) + sound[place + 4 :])
        damaged = Database(database.url)
        for name, ask in asked.items():
            try:
                assert ask(damaged) == right[name], (name, place)
            except StoreCorrupt:
                refused.add(name)
        damaged.close()
    assert refused == asked.keys()
