"""Each kind of damage is found by verify and mended by rebuild, which leaves alone what is sound or newer."""

import itertools
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from anyseek.search.catalogue import items, log
from anyseek.search.catalogue.tables import CollectionRow, LogRow
from anyseek.search.engine import SearchEngine
from anyseek.search.spaces.local import snapshots
from anyseek.search.types import Item, NewItem, Part, Query
from anyseek.search.upkeep import verify as verifying
from anyseek.search.upkeep.verify import Problem
from tests.search.gallery import SPACES, WORDS, Home, thumbnail

LOST = ["1 entries are missing in the log: 3", "the item 'cat' has no vector in the log in space 'looks'"]
NEEDLESS = "has needless vectors of 1 items"
CAT = Query((Part("caption", "cat"),), k=100)


def answers(engine: SearchEngine) -> list[str]:
    return sorted(hit.key for hit in engine.query("things", CAT).hits)


def thumbnail_of(home: Home, key: str) -> Path:
    return home.store.path(home.item(key).assets["thumbnail"])


def without_foreign_keys(home: Home, statement: str) -> None:
    with home.database.engine.connect() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text(statement))
        connection.execute(text("PRAGMA foreign_keys=ON"))


def change_vector(home: Home, **values: object) -> None:
    with home.database.write() as session:
        of_cat = update(LogRow).where(LogRow.item_id == home.item("cat").id)
        session.execute(of_cat.values(**values, checksum=None))


def lose_entry(home: Home) -> None:
    with home.database.write() as session:
        session.execute(update(CollectionRow).values(compacted_seq=0))
        session.execute(delete(LogRow).where(LogRow.seq == 3))


def lose_snapshots_and_entry(home: Home) -> None:
    shutil.rmtree(home.settings.indexes)
    lose_entry(home)


def lose_older_entry(home: Home) -> None:
    home.write([replace(thumbnail(home.store, "cat"), vectors=home.new("cow").vectors)])
    lose_entry(home)


def flip_snapshot(home: Home) -> None:
    folder = home.settings.indexes / str(home.collection.id) / str(home.collection.spaces[SPACES[0]].id)
    (path,) = snapshots.list_snapshots(folder)
    data = bytearray((path / "index").read_bytes())
    data[200] ^= 1
    (path / "index").write_bytes(data)


def swap_vectors(home: Home) -> None:
    """As a bug in an index would write it: the snapshot says otherwise than the log, with a good checksum."""
    cat, dog = home.item("cat").id, home.item("dog").id
    with home.database.write() as session:
        for held, other in ((cat, 10_000), (dog, cat), (10_000, dog)):
            session.execute(update(LogRow).where(LogRow.item_id == held).values(item_id=other, checksum=None))


def lose_collection(home: Home) -> None:
    other = home.beside("other")
    other.put(["x"])
    without_foreign_keys(home, f"DELETE FROM collections WHERE id = {other.collection.id}")


def lower_last_number(home: Home) -> None:
    with home.database.write() as session:
        session.execute(update(CollectionRow).values(last_seq=8))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda home: thumbnail_of(home, "cat").unlink(), ["'thumbnail' of item 'cat'"]),
        (lambda home: thumbnail_of(home, "cat").write_bytes(b"thumbnail of ca?"), ["'thumbnail' of item 'cat'"]),
        (flip_snapshot, ["checksum"]),
        (swap_vectors, [f"the index of space {name!r} has wrong vectors of 2 items" for name in SPACES]),
        (lose_entry, [*LOST, NEEDLESS]),
        (lose_snapshots_and_entry, LOST),
        (lose_older_entry, ["1 entries are missing in the log: 3"]),
        (lambda home: change_vector(home, fingerprint="other"), ["has a vector made by other weights in", NEEDLESS]),
        (lambda home: change_vector(home, vector=b"\0" * 7), ["has a vector of 7 bytes instead of 64 in", NEEDLESS]),
        (lose_collection, [f"rows of table '{name}'" for name in ("facets", "items", "log", "spaces", "words")]),
        (lower_last_number, ["numbers above 8", "compacted up to 10, beyond", "ends at entry 10, beyond"]),
    ],
    ids=[
        "a file is gone", "a file is changed", "a snapshot", "an index", "an entry", "an entry without snapshots",
        "an older entry", "other weights", "a short vector", "a collection", "the last number",
    ],
)  # fmt: skip
def test_damage_is_named_and_mended(
    home: Home, engine: SearchEngine, damage: Callable[[Home], object], named: list[str]
) -> None:
    assert answers(engine) == sorted(WORDS)
    damage(home)
    found = home.whats()
    assert all(any(says in what for what in found) for says in named), found
    assert all(any(says in what for says in named) for what in found), found
    assert home.rebuild(home.remade) == []
    assert home.problems() == []
    assert thumbnail_of(home, "cat").read_bytes() == b"thumbnail of cat"
    for each in (engine, home.engine()):
        assert answers(each) == sorted(WORDS)


def test_a_damaged_snapshot_costs_no_answer_before_it_is_mended(home: Home, engine: SearchEngine) -> None:
    flip_snapshot(home)
    assert answers(engine) == answers(home.engine()) == sorted(WORDS)


def test_an_item_row_that_vanished(home: Home, engine: SearchEngine) -> None:
    cat = home.item("cat")
    without_foreign_keys(home, f"DELETE FROM items WHERE id = {cat.id}")
    problems = home.whats()
    assert "1 rows of table 'assets' refer to rows that are not there" in problems
    assert f"the log has vectors of item number {cat.id}, which is gone without having been deleted" in problems
    home.rebuild()
    assert home.problems() == []
    assert answers(engine) == ["car", "dog", "house", "tree"]


def test_a_sound_catalogue_has_no_problems_and_is_rebuilt_as_it_is(home: Home, engine: SearchEngine) -> None:
    home.beside("empty")
    assert home.problems() == []
    home.put(["a tail without a snapshot"])
    home.put(["cat"], "changed")
    home.remove(["dog"])
    assert home.problems() == []
    before = engine.query("things", CAT)
    assert home.rebuild() == []
    assert engine.query("things", CAT) == before
    assert home.problems() == []


def test_compaction_and_a_frozen_centre_are_no_problem(home: Home, engine: SearchEngine) -> None:
    for said in ("first", "second", "third"):
        home.put([f"k{number}" for number in range(70)], said)
        home.put(["cat", "tree"], said)
        home.remove(["dog"])
        engine.write_snapshots("things")
    assert home.head.compacted_seq > 0
    assert home.problems() == []


def test_what_is_written_and_compacted_between_two_checks_is_no_problem(
    home: Home, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, versions = verifying._run_check, itertools.count()

    def busy(name: str, *rest: Any) -> list[Problem]:
        found = checked(name, *rest)
        home.put(WORDS, f"version {next(versions)}")
        with home.database.write() as session:
            log.compact(session, home.collection.id, home.head.last_seq, whole=True)
        return found

    monkeypatch.setattr(verifying, "_run_check", busy)
    assert home.whats() == []


def test_what_cannot_be_made_again_is_returned_and_left_for_the_next_indexing(home: Home, engine: SearchEngine) -> None:
    thumbnail_of(home, "cat").unlink()
    assert home.rebuild() == ["cat"]
    assert len(home.whats()) == 1
    with home.database.read() as session:
        hashes = items.content_hashes(session, home.collection, WORDS)
    assert [key for key, (content_hash, _) in hashes.items() if content_hash == ""] == ["cat"]
    home.write([thumbnail(home.store, "cat")])
    assert home.problems() == []


def test_an_item_that_changed_during_the_rebuild_is_not_set_back(home: Home, engine: SearchEngine) -> None:
    for key in ("cat", "dog"):
        thumbnail_of(home, key).unlink()

    def remake(lost: Sequence[Item]) -> dict[str, NewItem]:
        made = home.remade(lost)
        home.put(["cat"], "newer")
        home.remove(["dog"])
        return made

    assert home.rebuild(remake) == []
    assert home.item("cat").caption == "newer"
    assert "dog" not in answers(engine)
    assert home.problems() == []


def test_rebuild_removes_files_that_no_item_needs(home: Home, engine: SearchEngine) -> None:
    kept = thumbnail_of(home, "cat")
    unused = home.store.path(home.store.put("thumbnail", b"of nothing", "image/webp"))
    for path in (kept, unused):
        os.utime(path, (time.time() - 86_400,) * 2)
    home.rebuild()
    assert kept.exists()
    assert not unused.exists()


def test_a_live_index_opens_anew_after_a_rebuild(home: Home, engine: SearchEngine) -> None:
    """Whatever was wrong with it in memory."""
    assert answers(engine) == sorted(WORDS)
    for _, index in engine._spaces.values():
        with index.open_view() as view:
            ids, _vectors = view.vectors(view.search(view.centre[None], 100).ids[0])
            index._require_live().index.delete(ids[:2])
    assert len(answers(engine)) == 3
    home.rebuild()
    assert answers(engine) == sorted(WORDS)
