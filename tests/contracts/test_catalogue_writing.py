"""The catalogue keeps its promises on every database: writing and deleting items."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from anyseek.search.catalogue import collections, items, log, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import BadInput, CollectionNotFound, FingerprintMismatch, ItemNotFound, KeyHeldElsewhere
from anyseek.search.types import Collection
from tests.contracts.catalogue import PICTURE, THUMBNAIL, entries, space_ids
from tests.search.gallery import DIMENSION, SPACES, WordsEmbedder, all_items, new_item, put, remove


class TestWritingItems:
    def test_items_come_back_in_order_as_they_were_written(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        new = [new_item(embedder, key, assets=(PICTURE, THUMBNAIL)) for key in ("b", "ü/ö", "a")]
        with database.write() as session:
            written = items.write(session, collection, new)
        assert [item.key for item in written] == ["b", "ü/ö", "a"]
        with database.read() as session:
            assert [items.get(session, collection, item.key) for item in new] == written
        assert written[1].assets == {"rgb": PICTURE, "thumbnail": THUMBNAIL}
        assert written[1].attributes == {"words": "ü/ö"}
        assert written[1].revision == 1

    def test_each_space_gets_its_entry_in_one_gapless_order(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        x, y = put(database, collection, embedder, ["x", "y"])
        looks, means = space_ids(collection)
        assert entries(database, collection) == [
            (1, "upsert", x.id, looks),
            (2, "upsert", x.id, means),
            (3, "upsert", y.id, looks),
            (4, "upsert", y.id, means),
        ]

    def test_what_is_unchanged_writes_nothing(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        new = [replace(new_item(embedder, key, assets=(PICTURE,)), attributes={"a": (1, 2)}) for key in ("x", "y")]
        with database.write() as session:
            before = items.write(session, collection, new)
        with database.write() as session:
            assert items.write(session, collection, new) == before
        assert len(entries(database, collection)) == 4

    def test_a_changed_payload_is_an_entry_without_a_vector(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        (x,) = put(database, collection, embedder, ["x"])
        new = new_item(embedder, "x")
        for change in (
            {"caption": "other"},
            {"caption": "other", "attributes": {"n": 1}},
            {"caption": "other", "attributes": {"n": 1}, "content_hash": "other"},
            {"caption": "other", "attributes": {"n": 1}, "content_hash": "other", "assets": (THUMBNAIL,)},
        ):
            with database.write() as session:
                (written,) = items.write(session, collection, [replace(new, **change)])
        assert written.revision == 5
        assert written.id == x.id
        assert entries(database, collection, 2) == [(seq, "payload", x.id, None) for seq in (3, 4, 5, 6)]
        with database.read() as session:
            assert items.get(session, collection, "x") == written

    def test_only_spaces_whose_vector_changed_get_an_entry(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        (x,) = put(database, collection, embedder, ["x"])
        new = new_item(embedder, "x")
        moved = replace(new, vectors={**new.vectors, "means": new.vectors["looks"]})
        with database.write() as session:
            items.write(session, collection, [moved])
        assert entries(database, collection, 2) == [(3, "upsert", x.id, collection.spaces["means"].id)]

    def test_assets_are_replaced_as_a_whole(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        for assets in ((PICTURE, THUMBNAIL), (THUMBNAIL,)):
            with database.write() as session:
                items.write(session, collection, [new_item(embedder, "x", assets=assets)])
        with database.read() as session:
            assert items.get(session, collection, "x").assets == {"thumbnail": THUMBNAIL}

    def test_a_key_stays_with_its_source(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        with database.write() as session:
            here = sources.ensure(session, collection, Path("/here"))
            there = sources.ensure(session, collection, Path("/there"))
            items.write(session, collection, [replace(new_item(embedder, "x"), source_id=here)])
        for elsewhere in (there, None):
            batch = [new_item(embedder, "fresh"), replace(new_item(embedder, "x", "changed"), source_id=elsewhere)]
            with pytest.raises(KeyHeldElsewhere, match="'x'"), database.write() as session:
                items.write(session, collection, batch)
        with database.read() as session:
            assert items.hashes(session, collection, ["x", "fresh"]) == {"x": ("hash of x", here)}
        assert len(entries(database, collection)) == 2

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
    def test_what_cannot_be_stored_is_refused_in_a_sentence(
        self, database: Database, embedder: WordsEmbedder, collection: Collection, change: dict, says: str
    ) -> None:
        bad = replace(new_item(embedder, "bad"), **change)
        with pytest.raises(BadInput, match=says), database.write() as session:
            items.write(session, collection, [new_item(embedder, "good"), bad])
        with database.read() as session:
            assert all_items(session, collection) == []

    def test_a_key_given_twice_is_refused(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        with pytest.raises(BadInput, match="twice"):
            put(database, collection, embedder, ["x", "y", "x"])

    def test_vectors_of_other_weights_are_refused(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        looks = replace(collection.spaces["looks"], fingerprint="other")
        stale = replace(collection, spaces={**collection.spaces, "looks": looks})
        with pytest.raises(FingerprintMismatch):
            put(database, stale, embedder, ["x"])

    def test_nothing_is_written_to_a_deleted_collection(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        with database.write() as session:
            collections.delete(session, "things")
        with pytest.raises(CollectionNotFound, match="deleted in the meantime"):
            put(database, collection, embedder, ["x"])

    def test_many_new_items_are_one_statement_whatever_they_lack(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        new = [new_item(embedder, f"{number * 37 % 100}") for number in range(100)]
        new[::2] = [replace(item, caption=None) for item in new[::2]]
        asked: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
        with database.write() as session:
            written = items.write(session, collection, new)
        assert sum(statement.startswith("INSERT INTO items") for statement in asked) == 1
        assert [(item.key, item.caption) for item in written] == [(item.key, item.caption) for item in new]
        with database.read() as session:
            assert items.by_ids(session, [item.id for item in written]) == {item.id: item for item in written}

    def test_many_items_at_once(self, database: Database, embedder: WordsEmbedder, collection: Collection) -> None:
        keys = [f"{number:04}" for number in range(1_100)]
        written = put(database, collection, embedder, keys)
        assert [item.key for item in written] == keys
        assert len({item.id for item in written}) == 1_100
        with database.read() as session:
            assert items.by_ids(session, [item.id for item in written]) == {item.id: item for item in written}
            assert set(items.by_keys(session, collection, keys)) == set(keys)
            seqs = [entry.seq for entry in log.entries_after(session, collection.id, 0, 5_000)]
        assert seqs == list(range(1, 2_201))


class TestDeletingItems:
    def test_a_deletion_is_an_entry(self, database: Database, embedder: WordsEmbedder, collection: Collection) -> None:
        x, y = put(database, collection, embedder, ["x", "y"])
        assert remove(database, collection, ["y", "unknown", "y"]) == 1
        assert entries(database, collection, 4) == [(5, "delete", y.id, None)]
        with database.read() as session:
            assert items.get(session, collection, "x") == x
            with pytest.raises(ItemNotFound, match="'y'"):
                items.get(session, collection, "y")

    def test_a_key_put_again_is_another_item(
        self, database: Database, embedder: WordsEmbedder, collection: Collection
    ) -> None:
        (first,) = put(database, collection, embedder, ["x"])
        remove(database, collection, ["x"])
        assert put(database, collection, embedder, ["x"])[0].id > first.id
