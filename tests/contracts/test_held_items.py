"""What queries hold of the catalogue, heads and items, is never older than they may be, on every database."""

import threading
import time
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
from anyseek.search.types import Asset, Item
from tests.contracts.catalogue import PICTURE
from tests.search.gallery import Things, make_collection

PLENTY = 1 << 20


@pytest.fixture
def elsewhere(things: Things) -> Iterator[Things]:
    """The same catalogue as another process has it."""
    other = Database(things.database.url)
    yield replace(things, database=other)
    other.close()


@pytest.fixture
def cache() -> ItemCache:
    return ItemCache(PLENTY)


def head_of(things: Things) -> Head:
    with things.database.once() as connection:
        return collections.head(connection, things.collection.name)


def get(cache: ItemCache, things: Things, ids: Sequence[int], head: Head | None = None) -> dict[int, Item]:
    """Items as a query reads them whose head is the newest, or this one."""
    with Snapshot(things.database, head or head_of(things)) as snapshot:
        return cache.get(snapshot, ids)


def write(things: Things, key: str, **attributes: object) -> Item:
    """Put an item with these attributes and a picture."""
    (item,) = things.write([replace(things.new(key, assets=(PICTURE,)), attributes=attributes)])
    return item


def asked(things: Things) -> list[str]:
    """The statements from now on."""
    statements: list[str] = []
    event.listen(things.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2].split()[0]))
    return statements


class TestItems:
    def test_they_are_read_once_and_then_held(self, things: Things, cache: ItemCache) -> None:
        written = [write(things, key, n=1) for key in ("a", "b")]
        ids, head = [item.id for item in written], head_of(things)
        first = get(cache, things, ids, head)
        statements = asked(things)
        again = get(cache, things, ids, head)
        assert list(first.values()) == list(again.values()) == written
        assert statements == []

    def test_one_that_is_changed_elsewhere_is_read_again_and_others_are_not(
        self, things: Things, elsewhere: Things, cache: ItemCache
    ) -> None:
        a, b = (write(things, key, n=1) for key in ("a", "b"))
        get(cache, things, [a.id, b.id])
        write(elsewhere, "a", n=2)
        assert get(cache, things, [a.id])[a.id].attributes == {"n": 2}
        statements = asked(things)
        assert get(cache, elsewhere, [b.id]) == {b.id: b}
        assert statements == []

    @pytest.mark.parametrize("compacted", [False, True])
    def test_what_changed_or_went_elsewhere_is_not_hidden_by_a_log_that_was_compacted(
        self, things: Things, elsewhere: Things, cache: ItemCache, compacted: bool
    ) -> None:
        a, b = (write(things, key, n=1) for key in ("a", "b"))
        get(cache, things, [a.id, b.id])
        write(elsewhere, "a", n=2)
        elsewhere.remove(["b"])
        if compacted:
            with elsewhere.database.write() as session:
                log.compact(session, things.collection.id, elsewhere.head.last_seq)
        assert {item.key: item.attributes for item in get(cache, things, [a.id, b.id]).values()} == {"a": {"n": 2}}

    @pytest.mark.parametrize("way", ["move", "forget", "make again"])
    def test_one_that_changes_without_being_written_is_read_again(
        self, things: Things, elsewhere: Things, cache: ItemCache, tmp_path: Path, way: str
    ) -> None:
        with things.database.write() as session:
            source_id = sources.ensure(session, things.collection, str(tmp_path))
            picture = Asset("rgb", f"{tmp_path}/a.png", False, "image/png", "0" * 64, 10)
            new = replace(things.new("a", assets=(picture,)), source_id=source_id)
            (a,) = items.write(session, things.collection, [new])
        assert get(cache, things, [a.id]) == {a.id: a}
        if way == "move":
            with elsewhere.database.write() as session:
                sources.move(session, things.collection, source_id, "/new", (str(tmp_path), "/new"))
        elif way == "forget":
            sources.forget(elsewhere.database, things.collection, source_id, with_items=False)
        else:
            with elsewhere.database.write() as session:
                item_rows.clear_content_hash(session, things.collection.id, ["a"])
        (now,) = get(cache, things, [a.id]).values()
        told = {"move": now.path, "forget": now.source_id, "make again": now.content_hash}[way]
        assert told == {"move": "/new/a.png", "forget": None, "make again": ""}[way]

    def test_a_damaged_one_is_checked_each_time(self, things: Things, cache: ItemCache) -> None:
        item, head = write(things, "a", n=1), head_of(things)
        of_item = update(ItemRow).where(ItemRow.id == item.id)
        with things.database.write() as session:
            session.execute(of_item.values(caption="x"))
        assert get(cache, things, [item.id], head)[item.id].damaged
        with things.database.write() as session:
            session.execute(of_item.values(caption=item.caption))
        assert get(cache, things, [item.id], head) == {item.id: item}

    def test_they_take_no_more_memory_than_they_may(self, things: Things) -> None:
        ids = [item.id for item in things.put([f"thing {n}" for n in range(40)])]
        cache, head = ItemCache(20_000), head_of(things)
        for item_id in ids:
            get(cache, things, [item_id], head)
        assert 0 < len(cache) < 40
        assert cache.size_bytes <= 20_000
        statements = asked(things)
        assert get(cache, things, ids[-3:], head).keys() == set(ids[-3:])  # the latest
        assert statements == []
        assert get(cache, things, ids, head).keys() == set(ids)
        none = ItemCache(0)
        assert get(none, things, ids).keys() == set(ids)
        assert len(none) == 0

    def test_no_thread_gets_one_that_is_older_than_its_head(
        self, things: Things, elsewhere: Things, cache: ItemCache
    ) -> None:
        item, newest, stop = write(things, "a", n=0), [0], threading.Event()
        faults: list[tuple[int, int]] = []

        def read_on() -> None:
            while not stop.is_set():
                least = newest[0]
                got = get(cache, things, [item.id])[item.id].attributes["n"]
                if got < least:
                    faults.append((got, least))
                time.sleep(0.001)  # readers without a pause would keep the interpreter from the writer

        threads = [threading.Thread(target=read_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n in range(1, 50):
            write(elsewhere, "a", n=n)
            newest[0] = n
        stop.set()
        for thread in threads:
            thread.join()
        assert faults == []
        assert get(cache, things, [item.id])[item.id].attributes == {"n": 49}


class TestHeads:
    def test_reading_one_is_timed_as_a_stage_of_the_catalogue(self, things: Things) -> None:
        counted = ("anyseek_stage_seconds_count", {"stage": "catalogue"})
        before = REGISTRY.get_sample_value(*counted)
        Heads(things.database).get("things")
        assert REGISTRY.get_sample_value(*counted) == (before or 0) + 1

    def test_one_is_current_whoever_changes_the_collection(self, things: Things, elsewhere: Things) -> None:
        heads = Heads(things.database)
        assert heads.get("things").last_seq == 0
        for number, other in enumerate((elsewhere, things, elsewhere), 1):
            write(other, "a", n=number)
            assert heads.get("things") == head_of(things)

    def test_that_of_a_deleted_collection_is_not_found_and_a_new_one_is_another(
        self, things: Things, elsewhere: Things
    ) -> None:
        heads = Heads(things.database)
        assert heads.get("things").id == things.collection.id
        with elsewhere.database.write() as session:
            collections.delete(session, "things")
        with pytest.raises(CollectionNotFound):
            heads.get("things")
        made_again = make_collection(elsewhere.database, things.embedder)
        assert heads.get("things").id == made_again.id != things.collection.id

    def test_sqlite_is_not_asked_again_while_nothing_is_committed(self, things: Things, elsewhere: Things) -> None:
        heads = Heads(things.database)
        heads.get("things")
        statements = asked(things)
        heads.get("things")
        assert len(statements) == (0 if things.database.engine.dialect.name == "sqlite" else 1)

    def test_a_database_that_is_closed_and_used_again_is_watched_anew(self, things: Things, elsewhere: Things) -> None:
        heads = Heads(things.database)
        for number in range(3):
            write(elsewhere, "a", n=number)
            things.database.close()
            assert heads.get("things") == head_of(elsewhere)
