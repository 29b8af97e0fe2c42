"""Quotas of API keys on every database: what counts for a key, with several writers, and after deletions."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event

from anyseek.search.actor import Actor, acting_as
from anyseek.search.catalogue import api_keys, collections, items
from anyseek.search.catalogue.api_keys import Quota, Usage
from anyseek.search.errors import QuotaExceeded
from tests.contracts.catalogue import PICTURE, THUMBNAIL
from tests.search.gallery import Things

ALICE, BOB = Actor(Actor.of_key("alice")), Actor(Actor.of_key("bob"))
SOMEBODY = Actor("user:root")
STORED = THUMBNAIL.size_bytes


def may_store(things: Things, quota: Quota, name: str = "alice") -> None:
    with things.database.write() as session:
        api_keys.add(session, name, name, "write", None, quota)


def used(things: Things, name: str = "alice") -> Usage:
    with things.database.read() as session:
        return api_keys.usage(session, name)


def write(things: Things, keys: Sequence[str], actor: Actor = ALICE, size: int = STORED) -> None:
    new = [things.new(key, assets=(PICTURE, replace(THUMBNAIL, size_bytes=size))) for key in keys]
    with acting_as(actor), things.database.write() as session:
        items.write(session, things.collection, new)


def test_an_item_counts_with_what_is_stored_of_it(things: Things) -> None:
    may_store(things, Quota())
    write(things, ["a", "b"])
    write(things, ["a", "b"])  # nothing new
    assert used(things) == Usage(2, 2 * STORED)
    write(things, ["a"], size=11)
    assert used(things) == Usage(2, STORED + 11)


def test_more_than_the_quota_is_refused_as_a_whole(things: Things) -> None:
    may_store(things, Quota(items=3))
    write(things, ["a", "b"])
    with pytest.raises(QuotaExceeded, match="'alice' may store 3 items, and this would make 4"):
        write(things, ["c", "d"])
    assert used(things).items == 2
    write(things, ["c"])
    with things.database.read() as session:
        assert collections.count(session, things.collection.id) == 3


def test_bytes_are_counted_for_replaced_items_too(things: Things) -> None:
    may_store(things, Quota(bytes=12))
    write(things, ["a", "b"])
    with pytest.raises(QuotaExceeded, match=r"may store 0\.0 MB of files"):
        write(things, ["a"], size=8)
    write(things, ["a"], size=7)
    assert used(things) == Usage(2, 12)


def test_what_is_deleted_makes_room(things: Things) -> None:
    may_store(things, Quota(items=2))
    other = things.beside("other")
    write(things, ["a"])
    write(other, ["a"])
    with pytest.raises(QuotaExceeded):
        write(things, ["b"])
    things.remove(["a"])
    write(things, ["b"])
    with things.database.write() as session:
        collections.delete(session, "other")
    assert used(things) == Usage(1, STORED)
    write(things, ["c"])


def test_an_item_counts_for_the_key_that_put_it_last(things: Things) -> None:
    may_store(things, Quota())
    may_store(things, Quota(items=1), "bob")
    write(things, ["a", "b"])
    write(things, ["a"], BOB, size=7)
    assert (used(things), used(things, "bob")) == (Usage(1, STORED), Usage(1, 7))
    with pytest.raises(QuotaExceeded):
        write(things, ["b"], BOB, size=7)
    write(things, ["a", "b"], SOMEBODY, size=9)
    assert (used(things), used(things, "bob")) == (Usage(1, 9), Usage(1, 9)), "commands leave it to whom it was"


def test_a_changed_attribute_counts_for_nobody_else(things: Things) -> None:
    may_store(things, Quota())
    write(things, ["a"])
    with acting_as(BOB), things.database.write() as session:
        items.change_attributes(session, things.collection, "a", lambda held: {**held, "by": "bob"})
    assert (used(things), used(things, "bob")) == (Usage(1, STORED), Usage(0, 0))


def test_a_changed_caption_leaves_the_item_to_its_key_with_what_is_stored_now(things: Things) -> None:
    may_store(things, Quota(items=1))
    may_store(things, Quota(items=1, bytes=1), "bob")
    things.put(["nobody's"])
    write(things, ["a"])
    for key in ("a", "nobody's"):
        with acting_as(BOB), things.database.write() as session:
            new = replace(things.new(key), caption="bob's", assets=(replace(THUMBNAIL, size_bytes=3),))
            items.write(session, things.collection, [new], takes_over=False)
    assert (used(things), used(things, "bob")) == (Usage(1, 3), Usage(0, 0))
    things.remove(["a", "nobody's"])
    assert (used(things), used(things, "bob")) == (Usage(0, 0), Usage(0, 0))


def test_two_writers_at_once_do_not_pass_the_quota_together(things: Things) -> None:
    may_store(things, Quota(items=12))
    of = [things, things.beside("other")]

    def write_one(number: int) -> bool:
        try:
            write(of[number % 2], [str(number)])
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(4) as writers:
        written = list(writers.map(write_one, range(24)))
    assert written.count(True) == 12
    assert used(things) == Usage(12, 12 * STORED)


def test_a_lowered_quota_refuses_what_is_written_next(things: Things) -> None:
    may_store(things, Quota())
    write(things, ["a", "b"])
    with things.database.write() as session:
        api_keys.set_quota(session, "alice", Quota(items=1))
    with pytest.raises(QuotaExceeded):
        write(things, ["a"], size=1)
    with things.database.read() as session, acting_as(ALICE):
        api_keys.check_quota(session, things.collection.id, "a", STORED)  # the same again is no more than before
    with pytest.raises(api_keys.ApiKeyNotFound), things.database.write() as session:
        api_keys.set_quota(session, "nobody", Quota())


def test_an_item_is_refused_before_its_files_are_stored(things: Things) -> None:
    may_store(things, Quota(items=2, bytes=20))
    write(things, ["a", "b"])
    with things.database.read() as session, acting_as(ALICE):
        api_keys.check_quota(session, things.collection.id, "a", 15)
        for key, size in (("a", 16), ("c", 1)):
            with pytest.raises(QuotaExceeded):
                api_keys.check_quota(session, things.collection.id, key, size)
        with acting_as(BOB):
            api_keys.check_quota(session, things.collection.id, "c", 1_000)


def test_who_has_no_key_costs_no_statement(things: Things) -> None:
    said: list[str] = []
    event.listen(things.database.engine, "before_cursor_execute", lambda *seen: said.append(seen[2]))
    things.put(["a"])
    assert not [statement for statement in said if "api_keys" in statement or "charged_to IS" in statement]
    assert len([statement for statement in said if statement.startswith("UPDATE items")]) == 1
