"""A damaged row is found, is never an answer, and never becomes the truth; what is sound mends it."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, text, update

from anyseek.search.backup.read import restore
from anyseek.search.backup.write import backup
from anyseek.search.catalogue import collections, items, listing, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AssetRow, ItemRow, LogRow, SpaceRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import StoreCorrupt
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import centre
from anyseek.search.types import Part, Query, Results
from anyseek.search.upkeep.rebuild import uncentre
from anyseek.search.upkeep.verify import rows_without_checksum
from tests.search.gallery import SPACES, WORDS, Home, thumbnail, unit, whats

CAT = Query((Part("caption", "cat"),), k=100)
LOOKS = replace(CAT, space="looks")


def ask(home: Home, query: Query = CAT) -> Results:
    """What a process that has just been started answers."""
    return home.engine().query("things", query)


def keys(results: Results) -> list[str]:
    return sorted(hit.key for hit in results.hits)


def damage_vector(home: Home, item_id: int) -> bytes:
    """Flip a bit in the item's vector in the first space; return the sound one."""
    data = newest_vector(home, item_id)
    with home.database.write() as session:
        of_item = update(LogRow).where(LogRow.item_id == item_id, LogRow.space_id == 1)
        session.execute(of_item.values(vector=data[:2] + bytes([data[2] ^ 64]) + data[3:]))
    return data


def newest_vector(home: Home, item_id: int) -> bytes:
    with home.database.read() as session:
        of_item = (LogRow.item_id == item_id, LogRow.space_id == 1)
        data = session.scalars(select(LogRow.vector).where(*of_item).order_by(LogRow.seq.desc()).limit(1)).one()
    assert data is not None
    return data


def test_a_damaged_vector_is_named_and_mended_from_the_index(home: Home, engine: SearchEngine) -> None:
    before = ask(home)
    cat = home.item("cat")
    sound = np.frombuffer(damage_vector(home, cat.id), "<f4")
    assert "the item 'cat' has a damaged vector in space 'looks'" in home.whats()
    assert home.rebuild() == []
    assert home.problems() == []
    assert np.abs(np.frombuffer(newest_vector(home, cat.id), "<f4") - sound).max() < 1e-6
    after = ask(home)
    assert [hit.key for hit in after.hits] == [hit.key for hit in before.hits]
    assert np.allclose([hit.score for hit in after.hits], [hit.score for hit in before.hits], atol=1e-5)


def test_a_damaged_vector_without_a_sound_copy_is_embedded_anew_or_left_out(home: Home) -> None:
    cat = home.item("cat")
    sound = damage_vector(home, cat.id)
    for _ in range(2):
        assert home.rebuild() == ["cat"]
        assert home.whats() == ["the item 'cat' has a damaged vector in space 'looks'"]
    answered = ask(home, LOOKS)
    assert "cat" not in keys(answered)
    assert answered.note == (
        "1 items are not searched because their vectors are damaged or lost; anyseek verify names them"
    )
    assert home.rebuild(home.remade) == []
    assert home.problems() == []
    assert newest_vector(home, cat.id) == sound
    assert ask(home, LOOKS).note is None


def test_a_damaged_entry_of_the_tail_is_not_searched(home: Home, engine: SearchEngine) -> None:
    assert len(engine.query("things", LOOKS).hits) == 5
    home.put(["cow"])
    damage_vector(home, home.item("cow").id)
    answered = engine.query("things", LOOKS)
    assert keys(answered) == sorted(WORDS)
    assert "1 items are not searched" in (answered.note or "")
    home.put(["cow"])
    answered = engine.query("things", LOOKS)
    assert keys(answered) == sorted([*WORDS, "cow"])
    assert answered.note is None


@pytest.mark.parametrize(
    "damage",
    [
        update(ItemRow).where(ItemRow.key == "cat").values(caption="bat"),
        text("""UPDATE items SET attributes = '{"words": "bat"}' WHERE key = 'cat'"""),
        text("UPDATE items SET attributes = '{' WHERE key = 'cat'"),
        update(AssetRow).where(AssetRow.item_id == 2).values(sha256="0" * 64),
        update(AssetRow).where(AssetRow.item_id == 2).values(media_type="image/webq"),
    ],
    ids=["caption", "attributes", "no JSON", "checksum of a file", "type of a file"],
)
def test_a_damaged_item_is_named_left_out_of_hits_and_not_shown(
    home: Home, engine: SearchEngine, damage: object
) -> None:
    with home.database.write() as session:
        session.execute(damage)  # type: ignore[call-overload]
    problems = home.whats()
    assert "the row of item 'cat' (number 2) or of one of its files is damaged" in problems
    answered = engine.query("things", CAT)
    assert keys(answered) == ["car", "dog", "house", "tree"]
    assert "1 of the hits are left out" in (answered.note or "")
    with pytest.raises(StoreCorrupt, match="'cat' is damaged"):
        home.item("cat")
    with home.database.read() as session, pytest.raises(StoreCorrupt, match="'cat' is damaged"):
        listing.page(session, home.collection, listing.Order.KEY, None, 10)
    assert home.rebuild(home.remade) == ["cat"]
    home.write([thumbnail(home.store, "cat")])
    assert home.problems() == []
    assert keys(ask(home)) == sorted(WORDS)


def test_an_item_row_under_another_number_is_not_an_answer(home: Home, engine: SearchEngine) -> None:
    with home.database.engine.connect() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("UPDATE items SET id = 77 WHERE key = 'cat'"))
        connection.execute(text("PRAGMA foreign_keys=ON"))
    answered = engine.query("things", CAT)
    assert keys(answered) == ["car", "dog", "house", "tree"]
    assert "1 of the hits are left out" in (answered.note or "")
    assert any("number 77" in what for what in home.whats())


def test_a_damaged_space_answers_nothing_and_is_mended_where_its_mean_can_be_computed(
    home: Home, engine: SearchEngine
) -> None:
    def damage() -> None:
        with home.database.write() as session:
            session.execute(update(SpaceRow).values(centre=b"\0" * 64))

    damage()
    assert "the row of the space 'looks' is damaged" in home.whats()
    with pytest.raises(StoreCorrupt, match="is damaged in the database"):
        ask(home)
    with pytest.raises(StoreCorrupt, match="too few vectors to be mended"):
        home.rebuild()
    home.put([f"k{number}" for number in range(70)])
    assert home.rebuild() == []
    assert home.problems() == []
    assert len(ask(home).hits) == 75


def test_rows_from_before_checksums_are_told_and_filled(home: Home, engine: SearchEngine) -> None:
    with home.database.write() as session:
        for table in (ItemRow, LogRow, SpaceRow):
            session.execute(update(table).values(checksum=None))
    assert home.problems() == []
    (note,) = rows_without_checksum(home.database)
    assert note.what == "17 rows have no checksum yet; anyseek rebuild things writes them"
    assert home.rebuild() == []
    assert rows_without_checksum(home.database) == []
    assert home.problems() == []
    with home.database.write() as session:
        session.execute(update(ItemRow).where(ItemRow.key == "cat").values(caption="bat"))
    assert any("item 'cat'" in what for what in home.whats())


def test_an_item_keeps_a_true_checksum_when_its_source_is_changed_and_a_false_one_stays_false(
    home: Home, engine: SearchEngine
) -> None:
    with home.database.write() as session:
        session.execute(update(ItemRow).where(ItemRow.key == "dog").values(caption="fog"))
        session.execute(text("INSERT INTO sources (id, collection_id, root) VALUES (1, 1, '/photos')"))
    with home.database.write() as session:
        items.write(session, home.collection, [replace(home.new("new"), source_id=1)])
        session.execute(update(ItemRow).where(ItemRow.key == "dog").values(source_id=1))
    sources.forget(home.database, home.collection, 1, with_items=False)
    with home.database.read() as session:
        held = items.by_keys(session, home.collection, ["new", "dog"])
    assert [(held[key].damaged, held[key].source_id) for key in ("new", "dog")] == [(False, None), (True, None)]


def test_a_flipped_page_of_the_database_is_one_sentence(home: Home, engine: SearchEngine) -> None:
    home.database.close()
    path = home.settings.home / "catalogue.sqlite"
    with Database(home.settings.database_url).engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'facets'").scalar()
    data = bytearray(path.read_bytes())
    data[(int(root or 0) - 1) * 4096] ^= 0xFF  # what kind of page it is
    path.write_bytes(data)
    problems = whats(Database(home.settings.database_url), home.settings)
    assert any("malformed" in what or "the database is damaged" in what for what in problems)


@pytest.mark.parametrize("blocks", [(), (6, 10)])
def test_uncentred_is_the_inverse_of_centring(blocks: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    raw = unit(random.standard_normal((50, 16)).astype(np.float32))
    mean = (raw.mean(0) * 0.9).astype(np.float32)
    sound, back = uncentre(centre(raw, mean, blocks), mean, blocks)
    assert sound.sum() >= 45
    assert np.abs(back[sound] - raw[sound]).max() < 1e-5


def test_a_backup_keeps_checksums(home: Home, engine: SearchEngine) -> None:
    with home.database.write() as session:
        session.execute(update(ItemRow).where(ItemRow.key == "cat").values(caption="bat"))
    backup(home.database, home.store, home.settings.home / "b.tar")
    other = Settings(home=home.settings.home / "other")
    restore(other, home.settings.home / "b.tar")
    restored = Database(other.database_url)
    assert rows_without_checksum(restored) == []
    assert whats(restored, other) == ["the row of item 'cat' (number 2) or of one of its files is damaged"]
    with restored.read() as session:
        assert {space.name for space in collections.head(session, "things").spaces} == set(SPACES)
