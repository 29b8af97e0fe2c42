"""What queries hold of the catalogue, heads and items, is never older than they may be, on every database."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, update

from anyseek.search.catalogue import collections, item_rows, items, log, sources
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.item_cache import Heads, ItemCache, Snapshot
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.errors import CollectionNotFound
from anyseek.search.telemetry.metrics import REGISTRY
from anyseek.search.types import Asset, Collection, Item
from tests.contracts.catalogue import PICTURE
from tests.search.gallery import WordsEmbedder, make_collection, new_item, put, remove

PLENTY = 1 << 20


@pytest.fixture
def elsewhere(database: Database) -> Iterator[Database]:
    """The same catalogue as another process has it."""
    other = Database(database.url)
    yield other
    other.close()


@pytest.fixture
def cache() -> ItemCache:
    return ItemCache(PLENTY)


def head_of(database: Database, name: str = "things") -> Head:
    with database.once() as connection:
        return collections.head(connection, name)


def get(cache: ItemCache, database: Database, head: Head, ids: Sequence[int]) -> dict[int, Item]:
    with Snapshot(database, head) as snapshot:
        return cache.get(snapshot, ids)


def write(database: Database, collection: Collection, embedder: WordsEmbedder, key: str, **attributes: object) -> Item:
    """Put an item with these attributes and a picture."""
    new = replace(new_item(embedder, key, assets=(PICTURE,)), attributes=attributes)
    with database.write() as session:
        (item,) = items.write(session, collection, [new])
    return item


def asked(database: Database) -> list[str]:
    """The statements from now on."""
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2].split()[0]))
    return statements


class TestItems:
    def test_they_are_read_once_and_then_held(
        self, database: Database, cache: ItemCache, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        written = [write(database, collection, embedder, key, n=1) for key in ("a", "b")]
        ids, head = [item.id for item in written], head_of(database)
        first = get(cache, database, head, ids)
        statements = asked(database)
        again = get(cache, database, head, ids)
        assert list(first.values()) == list(again.values()) == written
        assert statements == []

    def test_one_that_is_changed_elsewhere_is_read_again_and_others_are_not(
        self, database: Database, elsewhere: Database, cache: ItemCache, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        a, b = (write(database, collection, embedder, key, n=1) for key in ("a", "b"))
        get(cache, database, head_of(database), [a.id, b.id])
        write(elsewhere, collection, embedder, "a", n=2)
        found = get(cache, database, head_of(database), [a.id])
        assert found[a.id].attributes == {"n": 2}
        statements = asked(database)
        assert get(cache, elsewhere, head_of(elsewhere), [b.id]) == {b.id: b}
        assert statements == []

    def test_one_that_is_deleted_elsewhere_is_gone(
        self, database: Database, elsewhere: Database, cache: ItemCache, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        a, b = (write(database, collection, embedder, key, n=1) for key in ("a", "b"))
        get(cache, database, head_of(database), [a.id, b.id])
        remove(elsewhere, collection, ["a"])
        assert get(cache, database, head_of(database), [a.id, b.id]) == {b.id: b}

    def test_a_log_that_was_compacted_in_the_meantime_hides_nothing(
        self, database: Database, elsewhere: Database, cache: ItemCache, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        a, b = (write(database, collection, embedder, key, n=1) for key in ("a", "b"))
        get(cache, database, head_of(database), [a.id, b.id])
        write(elsewhere, collection, embedder, "a", n=2)
        remove(elsewhere, collection, ["b"])
        with elsewhere.write() as session:
            log.compact(session, collection.id, head_of(elsewhere).last_seq)
        found = get(cache, database, head_of(database), [a.id, b.id])
        assert {item.key: item.attributes for item in found.values()} == {"a": {"n": 2}}

    @pytest.mark.parametrize("way", ["move", "forget", "make again"])
    def test_one_that_changes_without_being_written_is_read_again(
        self,
        database: Database,
        elsewhere: Database,
        cache: ItemCache,
        collection: Collection,
        embedder: WordsEmbedder,
        tmp_path: Path,
        way: str,
    ) -> None:
        with database.write() as session:
            source_id = sources.ensure(session, collection, str(tmp_path))
            picture = Asset("rgb", f"{tmp_path}/a.png", False, "image/png", "0" * 64, 10)
            new = replace(new_item(embedder, "a", assets=(picture,)), source_id=source_id)
            (a,) = items.write(session, collection, [new])
        assert get(cache, database, head_of(database), [a.id]) == {a.id: a}
        if way == "move":
            with elsewhere.write() as session:
                sources.move(session, collection, source_id, "/new", (str(tmp_path), "/new"))
        elif way == "forget":
            sources.forget(elsewhere, collection, source_id, with_items=False)
        else:
            with elsewhere.write() as session:
                item_rows.forget_content(session, collection.id, ["a"])
        (now,) = get(cache, database, head_of(database), [a.id]).values()
        told = {"move": now.path, "forget": now.source_id, "make again": now.content_hash}[way]
        assert told == {"move": "/new/a.png", "forget": None, "make again": ""}[way]

    def test_a_damaged_one_is_checked_each_time(
        self, database: Database, cache: ItemCache, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        item, head = write(database, collection, embedder, "a", n=1), head_of(database)
        of_item = update(ItemRow).where(ItemRow.id == item.id)
        with database.write() as session:
            session.execute(of_item.values(caption="x"))
        assert get(cache, database, head, [item.id])[item.id].damaged
        with database.write() as session:
            session.execute(of_item.values(caption=item.caption))
        assert get(cache, database, head, [item.id]) == {item.id: item}

    def test_they_take_no_more_memory_than_they_may(
        self, database: Database, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        ids = [item.id for item in put(database, collection, embedder, [f"thing {n}" for n in range(40)])]
        cache, head = ItemCache(20_000), head_of(database)
        for item_id in ids:
            get(cache, database, head, [item_id])
        assert 0 < len(cache) < 40
        assert cache.held_bytes <= 20_000
        statements = asked(database)
        assert get(cache, database, head, ids[-3:]).keys() == set(ids[-3:])  # the latest
        assert statements == []
        assert get(cache, database, head, ids).keys() == set(ids)

    def test_none_are_held_if_there_is_no_room(
        self, database: Database, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        item, cache = write(database, collection, embedder, "a", n=1), ItemCache(0)
        assert get(cache, database, head_of(database), [item.id]) == {item.id: item}
        assert len(cache) == 0

    def test_no_thread_gets_one_that_is_older_than_its_head(
        self, database: Database, elsewhere: Database, cache: ItemCache, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        item, newest, stop = write(database, collection, embedder, "a", n=0), [0], threading.Event()
        faults: list[tuple[int, int]] = []

        def read_on() -> None:
            while not stop.is_set():
                least = newest[0]
                got = get(cache, database, head_of(database), [item.id])[item.id].attributes["n"]
                if got < least:
                    faults.append((got, least))

        threads = [threading.Thread(target=read_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n in range(1, 50):
            write(elsewhere, collection, embedder, "a", n=n)
            newest[0] = n
        stop.set()
        for thread in threads:
            thread.join()
        assert faults == []
        assert get(cache, database, head_of(database), [item.id])[item.id].attributes == {"n": 49}


class TestHeads:
    def test_reading_one_is_timed_as_a_stage_of_the_catalogue(self, database: Database, collection: Collection) -> None:
        counted = ("anyseek_stage_seconds_count", {"stage": "catalogue"})
        before = REGISTRY.get_sample_value(*counted)
        Heads(database).get("things")
        assert REGISTRY.get_sample_value(*counted) == (before or 0) + 1

    def test_one_is_current_whoever_changes_the_collection(
        self, database: Database, elsewhere: Database, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        heads = Heads(database)
        assert heads.get("things").last_seq == 0
        for number, other in enumerate((elsewhere, database, elsewhere), 1):
            write(other, collection, embedder, "a", n=number)
            assert heads.get("things") == head_of(database)

    def test_that_of_a_deleted_collection_is_not_found_and_a_new_one_is_another(
        self, database: Database, elsewhere: Database, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        heads = Heads(database)
        assert heads.get("things").id == collection.id
        with elsewhere.write() as session:
            collections.delete(session, "things")
        with pytest.raises(CollectionNotFound):
            heads.get("things")
        made_again = make_collection(elsewhere, embedder)
        assert heads.get("things").id == made_again.id != collection.id

    def test_sqlite_is_not_asked_again_while_nothing_is_committed(
        self, database: Database, elsewhere: Database, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        heads = Heads(database)
        heads.get("things")
        statements = asked(database)
        heads.get("things")
        assert len(statements) == (0 if database.engine.dialect.name == "sqlite" else 1)

    def test_a_database_that_is_closed_and_used_again_is_watched_anew(
        self, database: Database, elsewhere: Database, collection: Collection, embedder: WordsEmbedder
    ) -> None:
        heads = Heads(database)
        for number in range(3):
            write(elsewhere, collection, embedder, "a", n=number)
            database.close()
            assert heads.get("things") == head_of(elsewhere)
