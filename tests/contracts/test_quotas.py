"""Quotas of API keys on every database: what counts for a key, with several writers, and after deletions."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event

from anyseek.search.actor import Caller, acting
from anyseek.search.catalogue import api_keys, collections, items
from anyseek.search.catalogue.api_keys import Quota, Usage
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import QuotaExceeded
from anyseek.search.types import Collection
from tests.contracts.catalogue import PICTURE, THUMBNAIL
from tests.search.gallery import WordsEmbedder, make_collection, new_item, put, remove

ALICE, BOB = Caller(Caller.of_key("alice")), Caller(Caller.of_key("bob"))
SOMEBODY = Caller("user:root")
STORED = THUMBNAIL.size_bytes


def may_store(database: Database, quota: Quota, name: str = "alice") -> None:
    with database.write() as session:
        api_keys.add(session, name, name, "write", None, quota)


def used(database: Database, name: str = "alice") -> Usage:
    with database.read() as session:
        return api_keys.usage(session, name)


def write(
    database: Database, collection: Collection, keys: Sequence[str], caller: Caller = ALICE, size: int = STORED
) -> None:
    new = [new_item(WordsEmbedder(), key, assets=(PICTURE, replace(THUMBNAIL, size_bytes=size))) for key in keys]
    with acting(caller), database.write() as session:
        items.write(session, collection, new)


def test_an_item_counts_with_what_is_stored_of_it(database: Database, collection: Collection) -> None:
    may_store(database, Quota())
    write(database, collection, ["a", "b"])
    write(database, collection, ["a", "b"])  # nothing new
    assert used(database) == Usage(2, 2 * STORED)
    write(database, collection, ["a"], size=11)
    assert used(database) == Usage(2, STORED + 11)


def test_more_than_the_quota_is_refused_as_a_whole(database: Database, collection: Collection) -> None:
    may_store(database, Quota(items=3))
    write(database, collection, ["a", "b"])
    with pytest.raises(QuotaExceeded, match="'alice' may store 3 items, and this would make 4"):
        write(database, collection, ["c", "d"])
    assert used(database).items == 2
    write(database, collection, ["c"])
    with database.read() as session:
        assert collections.count(session, collection.id) == 3


def test_bytes_are_counted_for_replaced_items_too(database: Database, collection: Collection) -> None:
    may_store(database, Quota(bytes=12))
    write(database, collection, ["a", "b"])
    with pytest.raises(QuotaExceeded, match=r"may store 0\.0 MB of files"):
        write(database, collection, ["a"], size=8)
    write(database, collection, ["a"], size=7)
    assert used(database) == Usage(2, 12)


def test_what_is_deleted_makes_room(database: Database, collection: Collection) -> None:
    may_store(database, Quota(items=2))
    other = make_collection(database, WordsEmbedder(), "other")
    write(database, collection, ["a"])
    write(database, other, ["a"])
    with pytest.raises(QuotaExceeded):
        write(database, collection, ["b"])
    remove(database, collection, ["a"])
    write(database, collection, ["b"])
    with database.write() as session:
        collections.delete(session, "other")
    assert used(database) == Usage(1, STORED)
    write(database, collection, ["c"])


def test_an_item_counts_for_the_key_that_put_it_last(database: Database, collection: Collection) -> None:
    may_store(database, Quota())
    may_store(database, Quota(items=1), "bob")
    write(database, collection, ["a", "b"])
    write(database, collection, ["a"], BOB, size=7)
    assert (used(database), used(database, "bob")) == (Usage(1, STORED), Usage(1, 7))
    with pytest.raises(QuotaExceeded):
        write(database, collection, ["b"], BOB, size=7)
    write(database, collection, ["a", "b"], SOMEBODY, size=9)
    assert (used(database), used(database, "bob")) == (Usage(1, 9), Usage(1, 9)), "commands leave it to whom it was"


def test_a_changed_attribute_counts_for_nobody_else(database: Database, collection: Collection) -> None:
    may_store(database, Quota())
    write(database, collection, ["a"])
    with acting(BOB), database.write() as session:
        items.change_attributes(session, collection, "a", lambda held: {**held, "by": "bob"})
    assert (used(database), used(database, "bob")) == (Usage(1, STORED), Usage(0, 0))


def test_a_changed_caption_leaves_the_item_to_its_key_with_what_is_stored_now(
    database: Database, collection: Collection
) -> None:
    may_store(database, Quota(items=1))
    may_store(database, Quota(items=1, bytes=1), "bob")
    put(database, collection, WordsEmbedder(), ["nobody's"])
    write(database, collection, ["a"])
    for key in ("a", "nobody's"):
        with acting(BOB), database.write() as session:
            new = replace(new_item(WordsEmbedder(), key), caption="bob's", assets=(replace(THUMBNAIL, size_bytes=3),))
            items.write(session, collection, [new], takes_over=False)
    assert (used(database), used(database, "bob")) == (Usage(1, 3), Usage(0, 0))
    remove(database, collection, ["a", "nobody's"])
    assert (used(database), used(database, "bob")) == (Usage(0, 0), Usage(0, 0))


def test_two_writers_at_once_do_not_pass_the_quota_together(database: Database, collection: Collection) -> None:
    may_store(database, Quota(items=12))
    of = [collection, make_collection(database, WordsEmbedder(), "other")]

    def write_one(number: int) -> bool:
        try:
            write(database, of[number % 2], [str(number)])
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(4) as writers:
        written = list(writers.map(write_one, range(24)))
    assert written.count(True) == 12
    assert used(database) == Usage(12, 12 * STORED)


def test_a_lowered_quota_refuses_what_is_written_next(database: Database, collection: Collection) -> None:
    may_store(database, Quota())
    write(database, collection, ["a", "b"])
    with database.write() as session:
        api_keys.set_quota(session, "alice", Quota(items=1))
    with pytest.raises(QuotaExceeded):
        write(database, collection, ["a"], size=1)
    with database.read() as session, acting(ALICE):
        api_keys.check_room(session, collection.id, "a", STORED)  # the same again is no more than before
    with pytest.raises(api_keys.ApiKeyNotFound), database.write() as session:
        api_keys.set_quota(session, "nobody", Quota())


def test_an_item_is_refused_before_its_files_are_stored(database: Database, collection: Collection) -> None:
    may_store(database, Quota(items=2, bytes=20))
    write(database, collection, ["a", "b"])
    with database.read() as session, acting(ALICE):
        api_keys.check_room(session, collection.id, "a", 15)
        for key, size in (("a", 16), ("c", 1)):
            with pytest.raises(QuotaExceeded):
                api_keys.check_room(session, collection.id, key, size)
        with acting(BOB):
            api_keys.check_room(session, collection.id, "c", 1_000)


def test_who_has_no_key_costs_no_statement(database: Database, embedder: WordsEmbedder, collection: Collection) -> None:
    said: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *seen: said.append(seen[2]))
    put(database, collection, embedder, ["a"])
    assert not [statement for statement in said if "api_keys" in statement or "charged_to IS" in statement]
    assert len([statement for statement in said if statement.startswith("UPDATE items")]) == 1
