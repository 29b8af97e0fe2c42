"""What a rebuild leaves, returns and takes care of beside mending."""

import os
import time
from collections.abc import Sequence

from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import items
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, Item, NewItem, Part, Query
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import verify
from tests.search.gallery import WORDS, WordsEmbedder, item_of, put, remove, thumbnail, whats


def found(engine: SearchEngine) -> list[str]:
    return sorted(hit.key for hit in engine.query("things", Query((Part("caption", "cat"),), k=100)).hits)


def test_what_cannot_be_made_again_is_returned_and_left_for_the_next_indexing(
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection
) -> None:
    store.path(item_of(database, gallery, "cat").assets["thumbnail"]).unlink()
    assert rebuild(database, settings, "things") == ["cat"]
    assert len(whats(database, settings)) == 1
    with database.read() as session:
        hashes = items.hashes(session, gallery, WORDS)
    assert [key for key, (content_hash, _) in hashes.items() if content_hash == ""] == ["cat"]
    with database.write() as session:
        items.write(session, gallery, [thumbnail(store, "cat")])
    assert verify(database, settings) == []


def test_an_item_that_changed_during_the_rebuild_is_not_set_back(
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection
) -> None:
    for key in ("cat", "dog"):
        store.path(item_of(database, gallery, key).assets["thumbnail"]).unlink()

    def remake(lost: Sequence[Item]) -> dict[str, NewItem]:
        made = {item.key: thumbnail(store, item.key) for item in lost}
        put(database, gallery, WordsEmbedder(), ["cat"], "newer")
        remove(database, gallery, ["dog"])
        return made

    assert rebuild(database, settings, "things", remake) == []
    assert item_of(database, gallery, "cat").caption == "newer"
    assert "dog" not in found(engine)
    assert verify(database, settings) == []


def test_rebuild_removes_files_that_no_item_needs(
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection
) -> None:
    kept = store.path(item_of(database, gallery, "cat").assets["thumbnail"])
    unused = store.path(store.put("thumbnail", b"of nothing", "image/webp"))
    for path in (kept, unused):
        os.utime(path, (time.time() - 86_400,) * 2)
    rebuild(database, settings, "things")
    assert kept.exists()
    assert not unused.exists()


def test_a_live_index_opens_anew_after_a_rebuild(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    """Whatever was wrong with it in memory."""
    assert found(engine) == sorted(WORDS)
    for _, index in engine._spaces.values():
        with index.reading() as view:
            ids, _vectors = view.vectors(view.search(view.centre[None], 100).ids[0])
            index._opened().index.delete(ids[:2])
    assert len(found(engine)) == 3
    rebuild(database, settings, "things")
    assert found(engine) == sorted(WORDS)
