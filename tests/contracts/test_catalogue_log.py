"""The catalogue keeps its promises on every database: the log."""

import numpy as np

from anyseek.search.catalogue import collections, items, log
from tests.contracts.catalogue import entries, space_ids
from tests.search.gallery import DIMENSION, Things


class TestLog:
    def test_latest_vectors_are_those_of_living_items(self, things: Things) -> None:
        things.put([f"k{number}" for number in range(7)])
        things.put(["k3"], "changed")
        things.remove(["k5"])
        space = things.collection.spaces["means"]
        with things.database.read() as session:
            pages = list(log.latest_vectors(session, things.collection.id, space.id, page=3))
            held = items.by_keys(session, things.collection, [f"k{number}" for number in range(7)])
        assert [len(page.ids) for page in pages] == [3, 3]
        found = {}
        for page in pages:
            ids, vectors = page.of(space.fingerprint, DIMENSION)
            found.update(zip(ids.tolist(), vectors, strict=True))
        assert set(found) == {item.id for item in held.values()}
        for key, item in held.items():
            expected = things.new(key, "changed" if key == "k3" else key).vectors["means"]
            np.testing.assert_array_equal(found[item.id], expected)

    def test_latest_vectors_of_some_ids(self, things: Things) -> None:
        x, _, z = things.put(["x", "y", "z"])
        with things.database.read() as session:
            pages = list(
                log.latest_vectors(session, things.collection.id, space_ids(things.collection)[0], [z.id, x.id, 999])
            )
        assert [page.ids for page in pages] == [(x.id, z.id)]

    def test_two_collections_do_not_mix(self, things: Things) -> None:
        other = things.beside("other")
        things.put(["x"])
        (y,) = other.put(["y"])
        things.put(["x"], "changed")
        assert [seq for seq, *_ in entries(other)] == [1, 2]
        with other.database.read() as session:
            pages = list(log.latest_vectors(session, other.collection.id, space_ids(other.collection)[0]))
        assert [page.ids for page in pages] == [(y.id,)]

    def test_entries_of_one_space_come_with_what_concerns_all(self, things: Things) -> None:
        things.put(["x"])
        things.remove(["x"])
        with things.database.read() as session:
            found = log.entries_after(session, things.collection.id, 0, 10, space_ids(things.collection)[1])
        assert [(entry.seq, entry.kind) for entry in found] == [(2, "upsert"), (3, "delete")]

    def test_compaction_keeps_the_newest_vector_of_every_living_item(self, things: Things) -> None:
        things.put(["x", "y", "z"])
        things.put(["x"], "changed")
        things.remove(["y"])
        things.put(["z"], "changed")
        space = space_ids(things.collection)[0]
        with things.database.read() as session:
            before = list(log.latest_vectors(session, things.collection.id, space))
        with things.database.write() as session:
            assert log.compact(session, things.collection.id, 9) == 7  # two of x, y and z each, and the deletion of y
        with things.database.read() as session:
            assert list(log.latest_vectors(session, things.collection.id, space)) == before
            assert collections.head(session, "things").compacted_seq == 9
            seqs = [entry.seq for entry in log.entries_after(session, things.collection.id, 0, 100)]
        assert seqs == [7, 8, 10, 11]

    def test_later_compactions_leave_what_one_of_the_whole_log_leaves(self, things: Things) -> None:
        names = [f"k{number}" for number in range(12)]
        things.put(names)
        rng = np.random.default_rng(0)
        for turn in range(6):
            some = rng.choice(names, 4, replace=False).tolist()
            things.put(some, f"turn {turn}")
            things.remove(some[:1])
            with things.database.write() as session:
                last = collections.head(session, "things").last_seq
                log.compact(session, things.collection.id, last - 5)
                left = [entry.seq for entry in log.entries_after(session, things.collection.id, 0, 1_000)]
            with things.database.write() as session:
                assert log.compact(session, things.collection.id, last - 5, whole=True) == 0
            assert [seq for seq in left if seq > last - 5] == list(range(last - 4, last + 1))
