"""The catalogue keeps its promises on every database: the log."""

import numpy as np

from anyseek.search.catalogue import collections, items, log
from anyseek.search.catalogue.session import Database
from anyseek.search.types import Collection
from tests.contracts.catalogue import entries, space_ids
from tests.search.gallery import DIMENSION, WordsEmbedder, make_collection, new_item, put, remove


class TestLog:
    def test_latest_vectors_are_those_of_living_items(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        put(database, collection, embedder, [f"k{number}" for number in range(7)])
        put(database, collection, embedder, ["k3"], "changed")
        remove(database, collection, ["k5"])
        space = collection.spaces["means"]
        with database.read() as session:
            pages = list(log.latest_vectors(session, collection.id, space.id, page=3))
            held = items.by_keys(session, collection, [f"k{number}" for number in range(7)])
        assert [len(page.ids) for page in pages] == [3, 3]
        found = {}
        for page in pages:
            ids, vectors = page.of(space.fingerprint, DIMENSION)
            found.update(zip(ids.tolist(), vectors, strict=True))
        assert set(found) == {item.id for item in held.values()}
        for key, item in held.items():
            expected = new_item(embedder, key, "changed" if key == "k3" else key).vectors["means"]
            np.testing.assert_array_equal(found[item.id], expected)

    def test_latest_vectors_of_some_ids(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        x, _, z = put(database, collection, embedder, ["x", "y", "z"])
        with database.read() as session:
            pages = list(log.latest_vectors(session, collection.id, space_ids(collection)[0], [z.id, x.id, 999]))
        assert [page.ids for page in pages] == [(x.id, z.id)]

    def test_two_collections_do_not_mix(self, database: Database, embedder: WordsEmbedder) -> None:
        first, second = (make_collection(database, embedder, name) for name in ("one", "two"))
        put(database, first, embedder, ["x"])
        (y,) = put(database, second, embedder, ["y"])
        put(database, first, embedder, ["x"], "changed")
        assert [seq for seq, *_ in entries(database, second)] == [1, 2]
        with database.read() as session:
            pages = list(log.latest_vectors(session, second.id, space_ids(second)[0]))
        assert [page.ids for page in pages] == [(y.id,)]

    def test_entries_of_one_space_come_with_what_concerns_all(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        put(database, collection, embedder, ["x"])
        remove(database, collection, ["x"])
        with database.read() as session:
            found = log.entries_after(session, collection.id, 0, 10, space_ids(collection)[1])
        assert [(entry.seq, entry.kind) for entry in found] == [(2, "upsert"), (3, "delete")]

    def test_compaction_keeps_the_newest_vector_of_every_living_item(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        put(database, collection, embedder, ["x", "y", "z"])
        put(database, collection, embedder, ["x"], "changed")
        remove(database, collection, ["y"])
        put(database, collection, embedder, ["z"], "changed")
        space = space_ids(collection)[0]
        with database.read() as session:
            before = list(log.latest_vectors(session, collection.id, space))
        with database.write() as session:
            assert log.compact(session, collection.id, 9) == 7  # two of x, y and z each, and the deletion of y
        with database.read() as session:
            assert list(log.latest_vectors(session, collection.id, space)) == before
            assert collections.head(session, "things").compacted_seq == 9
            seqs = [entry.seq for entry in log.entries_after(session, collection.id, 0, 100)]
        assert seqs == [7, 8, 10, 11]

    def test_later_compactions_leave_what_one_of_the_whole_log_leaves(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        names = [f"k{number}" for number in range(12)]
        put(database, collection, embedder, names)
        rng = np.random.default_rng(0)
        for turn in range(6):
            some = rng.choice(names, 4, replace=False).tolist()
            put(database, collection, embedder, some, f"turn {turn}")
            remove(database, collection, some[:1])
            with database.write() as session:
                last = collections.head(session, "things").last_seq
                log.compact(session, collection.id, last - 5)
                left = [entry.seq for entry in log.entries_after(session, collection.id, 0, 1_000)]
            with database.write() as session:
                assert log.compact(session, collection.id, last - 5, whole=True) == 0
            assert [seq for seq in left if seq > last - 5] == list(range(last - 4, last + 1))
