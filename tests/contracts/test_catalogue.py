"""The catalogue keeps its promises on every database: collections, and reading items."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from anyseek.search.catalogue import collections, items, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import Table
from anyseek.search.errors import BadInput, CollectionExists, CollectionNotFound
from tests.contracts.catalogue import PICTURE, THUMBNAIL, entries, space_ids
from tests.search.gallery import DIMENSION, Things, WordsEmbedder, all_items, make_collection, put


class TestCollections:
    def test_a_new_one_is_empty_and_centred_on_its_priors(self, database: Database, embedder: WordsEmbedder) -> None:
        made = make_collection(database, embedder, "a.b-C_1")
        assert (made.name, made.model, made.last_seq) == ("a.b-C_1", "words", 0)
        for name, space in made.spaces.items():
            assert space.fingerprint == embedder.spaces[name].fingerprint
            assert (space.dimension, space.centre_version) == (DIMENSION, 0)
            np.testing.assert_array_equal(space.centre, embedder.spaces[name].gallery_prior)
        assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)

    @pytest.mark.parametrize("name", ["", ".hidden", "-x", "a b", "a/b", "ä", "x" * 101, "a\n"])
    def test_bad_names_are_refused(self, database: Database, embedder: WordsEmbedder, name: str) -> None:
        with pytest.raises(BadInput, match="cannot be the name of a collection;"):
            make_collection(database, embedder, name)

    def test_a_name_is_given_once(self, things: Things) -> None:
        with pytest.raises(CollectionExists, match="things"):
            make_collection(things.database, things.embedder)

    def test_they_are_listed_by_name_with_their_counts(self, things: Things) -> None:
        make_collection(things.database, things.embedder, "another")
        things.put(["x", "y"])
        with things.database.read() as session:
            held = collections.list_all(session)
            listed = [(each.name, collections.count(session, each.id), each.last_seq) for each in held]
        assert listed == [("another", 0, 0), ("things", 2, 4)]

    def test_deleting_takes_everything_along(self, things: Things) -> None:
        with things.database.write() as session:
            source = sources.ensure(session, things.collection, Path("/pictures"))
            items.write(session, things.collection, [replace(things.new("x"), source_id=source, assets=(PICTURE,))])
        with things.database.write() as session:
            collections.delete(session, "things")
        with things.database.read() as session:
            left = {
                table.name: session.execute(table.select()).all()
                for table in Table.metadata.sorted_tables
                if table.name not in ("api_keys", "audit")
            }
            with pytest.raises(CollectionNotFound):
                collections.get(session, "things")
        assert not any(left.values())

    def test_ids_are_never_given_twice(self, things: Things) -> None:
        before = things.put(["x"])[0].id
        with things.database.write() as session:
            collections.delete(session, "things")
        again = make_collection(things.database, things.embedder)
        assert again.id > things.collection.id
        assert min(space_ids(again)) > max(space_ids(things.collection))
        assert put(things.database, again, things.embedder, ["x"])[0].id > before

    def test_unknown_ones_are_named(self, database: Database) -> None:
        with database.write() as session:
            for call in (collections.get, collections.head, collections.delete):
                with pytest.raises(CollectionNotFound, match="nowhere"):
                    call(session, "nowhere")

    def test_a_source_is_made_once(self, things: Things) -> None:
        with things.database.write() as session:
            first = sources.ensure(session, things.collection, Path("/a"))
            assert sources.ensure(session, things.collection, Path("/b")) != first
            assert sources.ensure(session, things.collection, Path("/a")) == first

    def test_the_head_says_where_it_stands(self, things: Things) -> None:
        things.put(["x"])
        head = things.head
        assert (head.id, head.model, head.last_seq, head.compacted_seq) == (things.collection.id, "words", 2, 0)
        assert [space.id for space in head.spaces] == space_ids(things.collection)


class TestReadingItems:
    def test_keys_of_a_source_can_be_deleted_while_they_are_read(self, things: Things) -> None:
        with things.database.write() as session:
            source = sources.ensure(session, things.collection, Path("/here"))
            new = [replace(things.new(f"k{number:02}"), source_id=source) for number in range(25)]
            items.write(session, things.collection, [*new, things.new("kept")])
        with things.database.write() as session:
            for keys in items.keys_of_source(session, source, page=10):
                items.delete(session, things.collection, keys)
        with things.database.read() as session:
            assert [item.key for item in all_items(session, things.collection)] == ["kept"]

    def test_items_of_other_folders_and_of_the_api_are_outside(self, things: Things) -> None:
        with things.database.write() as session:
            here, there = (sources.ensure(session, things.collection, Path(root)) for root in ("/here", "/there"))
            origins = {"a": here, "b": here, "c": there, "d": None}
            new = [replace(things.new(key), source_id=source) for key, source in origins.items()]
            items.write(session, things.collection, new)
        with things.database.read() as session:
            outside = [
                items.count_outside(session, things.collection, Path(root)) for root in ("/here", "/there", "/none")
            ]
        assert outside == [2, 3, 4]

    def test_referenced_locations(self, things: Things) -> None:
        things.write([things.new("x", assets=(PICTURE, THUMBNAIL))])
        with things.database.read() as session:
            assert items.referenced_locations(session, ["ab/cdef", PICTURE.location, "cd/none"]) == {"ab/cdef"}


BATCHES = 8  # of each writer


class TestConcurrency:
    def test_writers_at_once_number_without_gaps_and_a_reader_never_skips(self, things: Things) -> None:
        def write(who: str) -> None:
            for batch in range(BATCHES):
                things.put([f"{who}/{batch}/{number}" for number in range(3)])
                things.remove([f"{who}/{batch}/0"])

        writers = [threading.Thread(target=write, args=(who,)) for who in "abc"]
        for writer in writers:
            writer.start()
        tailed: list[int] = []
        while any(writer.is_alive() for writer in writers):
            tailed += [seq for seq, *_ in entries(things, tailed[-1] if tailed else 0)]
            time.sleep(0.001)  # a reader without a pause would keep the interpreter from the writers
        tailed += [seq for seq, *_ in entries(things, tailed[-1] if tailed else 0)]
        assert tailed == list(range(1, 3 * BATCHES * 7 + 1))

    def test_a_read_sees_one_moment(self, things: Things) -> None:
        with things.database.read() as session:
            before = collections.head(session, "things").last_seq
            things.put(["x"])
            assert collections.head(session, "things").last_seq == before
            assert all_items(session, things.collection) == []

    def test_a_block_that_raises_writes_nothing(self, things: Things) -> None:
        def write_and_fail() -> None:
            with things.database.write() as session:
                items.write(session, things.collection, [things.new("x")])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_and_fail()
        assert entries(things) == []
