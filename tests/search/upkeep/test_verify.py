"""Each kind of damage is found by verify and mended by rebuild."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import CollectionRow, LogRow
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings
from anyseek.search.spaces.local import snapshots
from anyseek.search.types import Collection, Item, NewItem, Part, Query
from anyseek.search.upkeep import verify as verifying
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import Problem, verify
from tests.search.gallery import SPACES, WORDS, WordsEmbedder, item_of, make_collection, put, remove, thumbnail, whats


def found(engine: SearchEngine) -> list[str]:
    return sorted(hit.key for hit in engine.query("things", Query((Part("caption", "cat"),), k=100)).hits)


def remake_with(store: AssetStore) -> Callable[[Sequence[Item]], Mapping[str, NewItem]]:
    return lambda lost: {item.key: thumbnail(store, item.key) for item in lost}


def snapshot_file(settings: Settings, collection: Collection) -> Path:
    (path,) = snapshots.listed(settings.indexes / str(collection.id) / str(collection.spaces[SPACES[0]].id))
    return path / "index"


def without_foreign_keys(database: Database, *statements: str) -> None:
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        for statement in statements:
            connection.execute(text(statement))
        connection.execute(text("PRAGMA foreign_keys=ON"))


def test_a_sound_catalogue_has_no_problems(
    database: Database, settings: Settings, embedder: WordsEmbedder, engine: SearchEngine, gallery: Collection
) -> None:
    make_collection(database, embedder, "empty")
    assert verify(database, settings) == []
    put(database, gallery, embedder, ["a tail without a snapshot"])
    put(database, gallery, embedder, ["cat"], "changed")
    remove(database, gallery, ["dog"])
    assert verify(database, settings) == []


def test_compaction_and_a_frozen_centre_are_no_problem(
    database: Database, settings: Settings, embedder: WordsEmbedder, engine: SearchEngine, gallery: Collection
) -> None:
    for text_ in ("first", "second", "third"):
        put(database, gallery, embedder, [f"k{number}" for number in range(70)], text_)
        put(database, gallery, embedder, ["cat", "tree"], text_)
        remove(database, gallery, ["dog"])
        engine.write_snapshots("things")
    with database.read() as session:
        assert collections.head(session, "things").compacted_seq > 0
    assert verify(database, settings) == []


def test_what_is_written_and_compacted_between_two_checks_is_no_problem(
    database: Database,
    settings: Settings,
    embedder: WordsEmbedder,
    engine: SearchEngine,
    gallery: Collection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked, versions = verifying._checked, itertools.count()

    def busy(name: str, *rest: Any) -> list[Problem]:
        found = checked(name, *rest)
        put(database, gallery, embedder, WORDS, f"version {next(versions)}")
        with database.write() as session:
            log.compact(session, gallery.id, collections.head(session, "things").last_seq, whole=True)
        return found

    monkeypatch.setattr(verifying, "_checked", busy)
    assert whats(database, settings) == []


def test_rebuilding_what_is_sound_changes_no_answer(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    query = Query((Part("caption", "cat"),), k=5)
    before = engine.query("things", query)
    assert rebuild(database, settings, "things") == []
    assert engine.query("things", query) == before
    assert verify(database, settings) == []


@pytest.mark.parametrize("damage", ["unlink", "flip"])
def test_a_stored_file_that_is_gone_or_changed(
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection, damage: str
) -> None:
    path = store.path(item_of(database, gallery, "cat").assets["thumbnail"])
    if damage == "unlink":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    (what,) = whats(database, settings)
    assert "'thumbnail' of item 'cat'" in what
    assert rebuild(database, settings, "things", remake_with(store)) == []
    assert verify(database, settings) == []
    assert store.read(item_of(database, gallery, "cat").assets["thumbnail"]) == b"thumbnail of cat"


def test_a_flipped_byte_in_a_snapshot(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    path = snapshot_file(settings, gallery)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    (what,) = whats(database, settings)
    assert "checksum" in what
    assert found(engine) == sorted(WORDS)
    assert found(SearchEngine(database, settings, WordsEmbedder())) == sorted(WORDS)
    assert rebuild(database, settings, "things") == []
    assert verify(database, settings) == []


def test_a_snapshot_that_says_otherwise_than_the_log_with_a_good_checksum(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    """As a bug in an index would write it."""
    with database.write() as session:
        ids = [item_of(database, gallery, key).id for key in ("cat", "dog")]
        session.execute(update(LogRow).where(LogRow.item_id == ids[0]).values(item_id=10_000))
        session.execute(update(LogRow).where(LogRow.item_id == ids[1]).values(item_id=ids[0], checksum=None))
        session.execute(update(LogRow).where(LogRow.item_id == 10_000).values(item_id=ids[1], checksum=None))
    assert whats(database, settings) == [f"the index of space {name!r} has wrong vectors of 2 items" for name in SPACES]
    rebuild(database, settings, "things")
    assert verify(database, settings) == []


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_missing_log_entry(
    database: Database,
    settings: Settings,
    store: AssetStore,
    embedder: WordsEmbedder,
    gallery: Collection,
    snapshot: bool,
) -> None:
    engine = SearchEngine(database, settings, embedder)
    if snapshot:
        engine.write_snapshots("things")
    with database.write() as session:
        session.execute(update(CollectionRow).values(compacted_seq=0))
        session.execute(delete(LogRow).where(LogRow.seq == 3))
    problems = whats(database, settings)
    assert "1 entries are missing in the log: 3" in problems
    assert "the item 'cat' has no vector in the log in space 'looks'" in problems
    assert rebuild(database, settings, "things", remake_with(store)) == []
    assert verify(database, settings) == []
    assert found(engine) == sorted(WORDS)


def test_a_gap_is_found_where_nothing_else_shows_it(
    database: Database, settings: Settings, embedder: WordsEmbedder, gallery: Collection
) -> None:
    put(database, gallery, embedder, ["cat"], "changed")
    with database.write() as session:
        session.execute(delete(LogRow).where(LogRow.seq == 3))
    assert whats(database, settings) == ["1 entries are missing in the log: 3"]
    rebuild(database, settings, "things")
    assert verify(database, settings) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"fingerprint": "other"}, "the item 'cat' has a vector made by other weights in space 'looks'"),
        ({"vector": b"\0" * 7}, "the item 'cat' has a vector of 7 bytes instead of 64 in space 'looks'"),
    ],
)
def test_a_vector_that_does_not_belong_there(
    database: Database,
    settings: Settings,
    store: AssetStore,
    engine: SearchEngine,
    gallery: Collection,
    damage: dict[str, object],
    says: str,
) -> None:
    cat = item_of(database, gallery, "cat")
    with database.write() as session:
        session.execute(update(LogRow).where(LogRow.item_id == cat.id).values(**damage, checksum=None))
    assert says in whats(database, settings)
    assert rebuild(database, settings, "things", remake_with(store)) == []
    assert verify(database, settings) == []


def test_an_item_row_that_vanished(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    cat = item_of(database, gallery, "cat")
    without_foreign_keys(database, f"DELETE FROM items WHERE id = {cat.id}")
    problems = whats(database, settings)
    assert "1 rows of table 'assets' refer to rows that are not there" in problems
    assert f"the log has vectors of item number {cat.id}, which is gone without having been deleted" in problems
    rebuild(database, settings, "things")
    assert verify(database, settings) == []
    assert found(engine) == ["car", "dog", "house", "tree"]


def test_rows_of_a_collection_that_is_gone(
    database: Database, settings: Settings, embedder: WordsEmbedder, engine: SearchEngine
) -> None:
    other = make_collection(database, embedder, "other")
    put(database, other, embedder, ["x"])
    without_foreign_keys(database, f"DELETE FROM collections WHERE id = {other.id}")
    tables = {what.split("'")[1] for what in whats(database, settings)}
    assert tables == {"facets", "items", "log", "spaces", "words"}
    rebuild(database, settings, "things")
    assert verify(database, settings) == []
    assert found(engine) == sorted(WORDS)


def test_entries_beyond_the_last_number(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    with database.write() as session:
        session.execute(update(CollectionRow).values(last_seq=8))
    assert any("numbers above 8" in what for what in whats(database, settings))
    rebuild(database, settings, "things")
    assert verify(database, settings) == []
    assert found(engine) == sorted(WORDS)
