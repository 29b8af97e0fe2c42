"""The catalogue keeps its promises on every database: writing and deleting items."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from anyseek.search.catalogue import collections, items, log, sources
from anyseek.search.errors import BadInput, CollectionNotFound, FingerprintMismatch, ItemNotFound, KeyHeldElsewhere
from tests.contracts.catalogue import PICTURE, THUMBNAIL, entries, space_ids
from tests.search.gallery import DIMENSION, SPACES, Things, all_items, put


class TestWritingItems:
    def test_items_come_back_in_order_as_they_were_written(self, things: Things) -> None:
        new = [things.new(key, assets=(PICTURE, THUMBNAIL)) for key in ("b", "ü/ö", "a")]
        written = things.write(new)
        assert [item.key for item in written] == ["b", "ü/ö", "a"]
        with things.database.read() as session:
            assert [items.get(session, things.collection, item.key) for item in new] == written
        assert written[1].assets == {"rgb": PICTURE, "thumbnail": THUMBNAIL}
        assert written[1].attributes == {"words": "ü/ö"}
        assert written[1].revision == 1

    def test_each_space_gets_its_entry_in_one_gapless_order(self, things: Things) -> None:
        x, y = things.put(["x", "y"])
        looks, means = space_ids(things.collection)
        assert entries(things) == [
            (1, "upsert", x.id, looks),
            (2, "upsert", x.id, means),
            (3, "upsert", y.id, looks),
            (4, "upsert", y.id, means),
        ]

    def test_what_is_unchanged_writes_nothing(self, things: Things) -> None:
        new = [replace(things.new(key, assets=(PICTURE,)), attributes={"a": (1, 2)}) for key in ("x", "y")]
        before = things.write(new)
        assert things.write(new) == before
        assert len(entries(things)) == 4

    def test_a_changed_payload_is_an_entry_without_a_vector(self, things: Things) -> None:
        (x,) = things.put(["x"])
        new = things.new("x")
        for change in (
            {"caption": "other"},
            {"caption": "other", "attributes": {"n": 1}},
            {"caption": "other", "attributes": {"n": 1}, "content_hash": "other"},
            {"caption": "other", "attributes": {"n": 1}, "content_hash": "other", "assets": (THUMBNAIL,)},
        ):
            (written,) = things.write([replace(new, **change)])
        assert written.revision == 5
        assert written.id == x.id
        assert entries(things, 2) == [(seq, "payload", x.id, None) for seq in (3, 4, 5, 6)]
        assert things.item("x") == written

    def test_only_spaces_whose_vector_changed_get_an_entry(self, things: Things) -> None:
        (x,) = things.put(["x"])
        new = things.new("x")
        moved = replace(new, vectors={**new.vectors, "means": new.vectors["looks"]})
        things.write([moved])
        assert entries(things, 2) == [(3, "upsert", x.id, things.collection.spaces["means"].id)]

    def test_assets_are_replaced_as_a_whole(self, things: Things) -> None:
        for assets in ((PICTURE, THUMBNAIL), (THUMBNAIL,)):
            things.write([things.new("x", assets=assets)])
        assert things.item("x").assets == {"thumbnail": THUMBNAIL}

    def test_a_key_stays_with_its_source(self, things: Things) -> None:
        with things.database.write() as session:
            here = sources.ensure(session, things.collection, Path("/here"))
            there = sources.ensure(session, things.collection, Path("/there"))
            items.write(session, things.collection, [replace(things.new("x"), source_id=here)])
        for elsewhere in (there, None):
            batch = [things.new("fresh"), replace(things.new("x", "changed"), source_id=elsewhere)]
            with pytest.raises(KeyHeldElsewhere, match="'x'"):
                things.write(batch)
        with things.database.read() as session:
            assert items.content_hashes(session, things.collection, ["x", "fresh"]) == {"x": ("hash of x", here)}
        assert len(entries(things)) == 2

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"key": ""}, "cannot be a key"),
            ({"key": "x" * 1_001}, "cannot be a key"),
            ({"key": "a\0b"}, "cannot be a key"),
            ({"key": "caf\udce9.png"}, "cannot be a key"),
            ({"caption": "a\0b"}, "caption"),
            ({"attributes": {"a": float("nan")}}, "not JSON"),
            ({"attributes": {"a": object()}}, "not JSON"),
            ({"vectors": {}}, "has the spaces"),
            ({"vectors": {"looks": np.zeros(DIMENSION, np.float32), "means": np.ones(3, np.float32)}}, "length"),
            ({"vectors": dict.fromkeys(SPACES, np.full(DIMENSION, np.nan, np.float32))}, "length"),
        ],
    )
    def test_what_cannot_be_stored_is_refused_in_a_sentence(self, things: Things, change: dict, says: str) -> None:
        bad = replace(things.new("bad"), **change)
        with pytest.raises(BadInput, match=says):
            things.write([things.new("good"), bad])
        with things.database.read() as session:
            assert all_items(session, things.collection) == []

    def test_a_key_given_twice_is_refused(self, things: Things) -> None:
        with pytest.raises(BadInput, match="twice"):
            things.put(["x", "y", "x"])

    def test_vectors_of_other_weights_are_refused(self, things: Things) -> None:
        looks = replace(things.collection.spaces["looks"], fingerprint="other")
        stale = replace(things.collection, spaces={**things.collection.spaces, "looks": looks})
        with pytest.raises(FingerprintMismatch):
            put(things.database, stale, things.embedder, ["x"])

    def test_nothing_is_written_to_a_deleted_collection(self, things: Things) -> None:
        with things.database.write() as session:
            collections.delete(session, "things")
        with pytest.raises(CollectionNotFound, match="deleted in the meantime"):
            things.put(["x"])

    def test_many_new_items_are_one_statement_whatever_they_lack(self, things: Things) -> None:
        new = [things.new(f"{number * 37 % 100}") for number in range(100)]
        new[::2] = [replace(item, caption=None) for item in new[::2]]
        asked: list[str] = []
        event.listen(things.database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
        written = things.write(new)
        assert sum(statement.startswith("INSERT INTO items") for statement in asked) == 1
        assert [(item.key, item.caption) for item in written] == [(item.key, item.caption) for item in new]
        with things.database.read() as session:
            assert items.by_ids(session, [item.id for item in written]) == {item.id: item for item in written}

    def test_many_items_at_once(self, things: Things) -> None:
        keys = [f"{number:04}" for number in range(1_100)]
        written = things.put(keys)
        assert [item.key for item in written] == keys
        assert len({item.id for item in written}) == 1_100
        with things.database.read() as session:
            assert items.by_ids(session, [item.id for item in written]) == {item.id: item for item in written}
            assert set(items.by_keys(session, things.collection, keys)) == set(keys)
            seqs = [entry.seq for entry in log.entries_after(session, things.collection.id, 0, 5_000)]
        assert seqs == list(range(1, 2_201))


class TestDeletingItems:
    def test_a_deletion_is_an_entry(self, things: Things) -> None:
        x, y = things.put(["x", "y"])
        assert things.remove(["y", "unknown", "y"]) == 1
        assert entries(things, 4) == [(5, "delete", y.id, None)]
        with things.database.read() as session:
            assert items.get(session, things.collection, "x") == x
            with pytest.raises(ItemNotFound, match="'y'"):
                items.get(session, things.collection, "y")

    def test_a_key_put_again_is_another_item(self, things: Things) -> None:
        (first,) = things.put(["x"])
        things.remove(["x"])
        assert things.put(["x"])[0].id > first.id
