"""A damaged row is found, is never an answer, and never becomes the truth; what is sound mends it."""

import numpy as np
import pytest
from sqlalchemy import select, text, update

from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import collections, items, listing, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AssetRow, ItemRow, LogRow, SpaceRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import StoreCorrupt
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import centre
from anyseek.search.types import Collection, Part, Query, Results
from anyseek.search.upkeep.rebuild import rebuild, uncentred
from anyseek.search.upkeep.verify import unchecked, verify
from tests.search.gallery import SPACES, WORDS, WordsEmbedder, item_of, new_item, put, thumbnail, unit, whats


def ask(database: Database, settings: Settings) -> Results:
    """What a process that has just been started answers."""
    return SearchEngine(database, settings, WordsEmbedder()).query("things", Query((Part("caption", "cat"),), k=100))


def keys(results: Results) -> list[str]:
    return sorted(hit.key for hit in results.hits)


def damage_vector(database: Database, item_id: int) -> bytes:
    """Flip a bit in the item's vector in the first space; return the sound one."""
    with database.write() as session:
        of_item = (LogRow.item_id == item_id, LogRow.space_id == 1)
        data = session.scalars(select(LogRow.vector).where(*of_item)).one()
        assert data is not None
        session.execute(update(LogRow).where(*of_item).values(vector=data[:2] + bytes([data[2] ^ 64]) + data[3:]))
    return data


def newest_vector(database: Database, item_id: int) -> bytes:
    with database.read() as session:
        of_item = (LogRow.item_id == item_id, LogRow.space_id == 1)
        data = session.scalars(select(LogRow.vector).where(*of_item).order_by(LogRow.seq.desc()).limit(1)).one()
    assert data is not None
    return data


def test_a_damaged_vector_is_named_and_mended_from_the_index(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    before = ask(database, settings)
    cat = item_of(database, gallery, "cat")
    sound = np.frombuffer(damage_vector(database, cat.id), "<f4")
    assert "the item 'cat' has a damaged vector in space 'looks'" in whats(database, settings)
    assert rebuild(database, settings, "things") == []
    assert verify(database, settings) == []
    assert np.abs(np.frombuffer(newest_vector(database, cat.id), "<f4") - sound).max() < 1e-6
    after = ask(database, settings)
    assert [hit.key for hit in after.hits] == [hit.key for hit in before.hits]
    assert np.allclose([hit.score for hit in after.hits], [hit.score for hit in before.hits], atol=1e-5)


def test_a_damaged_vector_without_a_sound_copy_is_embedded_anew_or_left_out(
    database: Database, settings: Settings, store: AssetStore, gallery: Collection
) -> None:
    cat = item_of(database, gallery, "cat")
    sound = damage_vector(database, cat.id)
    for _ in range(2):
        assert rebuild(database, settings, "things") == ["cat"]
        assert whats(database, settings) == ["the item 'cat' has a damaged vector in space 'looks'"]
    answered = ask_looks(database, settings)
    assert "cat" not in keys(answered)
    assert answered.note == (
        "1 items are not searched because their vectors are damaged or lost; anyseek verify names them"
    )
    assert rebuild(database, settings, "things", lambda lost: {i.key: thumbnail(store, i.key) for i in lost}) == []
    assert verify(database, settings) == []
    assert newest_vector(database, cat.id) == sound
    assert ask_looks(database, settings).note is None


def ask_looks(database: Database, settings: Settings) -> Results:
    engine = SearchEngine(database, settings, WordsEmbedder())
    return engine.query("things", Query((Part("caption", "cat"),), k=100, space="looks"))


def test_a_damaged_entry_of_the_tail_is_not_searched(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    query = Query((Part("caption", "cat"),), k=100, space="looks")
    assert len(engine.query("things", query).hits) == 5
    put(database, gallery, WordsEmbedder(), ["cow"])
    damage_vector(database, item_of(database, gallery, "cow").id)
    answered = engine.query("things", query)
    assert keys(answered) == sorted(WORDS)
    assert "1 items are not searched" in (answered.note or "")
    put(database, gallery, WordsEmbedder(), ["cow"])
    answered = engine.query("things", query)
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
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection, damage: object
) -> None:
    with database.write() as session:
        session.execute(damage)  # type: ignore[call-overload]
    problems = whats(database, settings)
    assert "the row of item 'cat' (number 2) or of one of its files is damaged" in problems
    answered = engine.query("things", Query((Part("caption", "cat"),), k=100))
    assert keys(answered) == ["car", "dog", "house", "tree"]
    assert "1 of the hits are left out" in (answered.note or "")
    with database.read() as session, pytest.raises(StoreCorrupt, match="'cat' is damaged"):
        items.get(session, gallery, "cat")
    with database.read() as session, pytest.raises(StoreCorrupt, match="'cat' is damaged"):
        listing.page(session, gallery, listing.Order.KEY, None, 10)
    assert rebuild(database, settings, "things", lambda lost: {i.key: thumbnail(store, i.key) for i in lost}) == ["cat"]
    with database.write() as session:
        items.write(session, gallery, [thumbnail(store, "cat")])
    assert verify(database, settings) == []
    assert keys(ask(database, settings)) == sorted(WORDS)


def test_an_item_row_under_another_number_is_not_an_answer(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("UPDATE items SET id = 77 WHERE key = 'cat'"))
        connection.execute(text("PRAGMA foreign_keys=ON"))
    answered = engine.query("things", Query((Part("caption", "cat"),), k=100))
    assert keys(answered) == ["car", "dog", "house", "tree"]
    assert "1 of the hits are left out" in (answered.note or "")
    assert any("number 77" in what for what in whats(database, settings))


def test_a_damaged_space_answers_nothing_and_is_mended_where_its_mean_can_be_computed(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    def damage() -> None:
        with database.write() as session:
            session.execute(update(SpaceRow).values(centre=b"\0" * 64))

    damage()
    assert "the row of the space 'looks' is damaged" in whats(database, settings)
    with pytest.raises(StoreCorrupt, match="is damaged in the database"):
        ask(database, settings)
    with pytest.raises(StoreCorrupt, match="too few vectors to be mended"):
        rebuild(database, settings, "things")
    put(database, gallery, WordsEmbedder(), [f"k{number}" for number in range(70)])
    assert rebuild(database, settings, "things") == []
    assert verify(database, settings) == []
    assert len(ask(database, settings).hits) == 75


def test_rows_from_before_checksums_are_told_and_filled(
    database: Database, settings: Settings, engine: SearchEngine, gallery: Collection
) -> None:
    with database.write() as session:
        for table in (ItemRow, LogRow, SpaceRow):
            session.execute(update(table).values(checksum=None))
    assert verify(database, settings) == []
    (note,) = unchecked(database)
    assert note.what == "17 rows have no checksum yet; anyseek rebuild things writes them"
    assert rebuild(database, settings, "things") == []
    assert unchecked(database) == []
    assert verify(database, settings) == []
    with database.write() as session:
        session.execute(update(ItemRow).where(ItemRow.key == "cat").values(caption="bat"))
    assert any("item 'cat'" in what for what in whats(database, settings))


def test_an_item_keeps_a_true_checksum_when_its_source_is_changed_and_a_false_one_stays_false(
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection
) -> None:
    with database.write() as session:
        session.execute(update(ItemRow).where(ItemRow.key == "dog").values(caption="fog"))
        session.execute(text("INSERT INTO sources (id, collection_id, root) VALUES (1, 1, '/photos')"))
    with database.write() as session:
        item = new_item(WordsEmbedder(), "new")
        items.write(session, gallery, [type(item)(**{**vars(item), "source_id": 1})])
        session.execute(update(ItemRow).where(ItemRow.key == "dog").values(source_id=1))
    sources.forget(database, gallery, 1, with_items=False)
    with database.read() as session:
        held = items.by_keys(session, gallery, ["new", "dog"])
    assert [(held[key].damaged, held[key].source_id) for key in ("new", "dog")] == [(False, None), (True, None)]


def test_a_flipped_page_of_the_database_is_one_sentence(
    database: Database, settings: Settings, engine: SearchEngine
) -> None:
    database.close()
    path = settings.home / "catalogue.sqlite"
    with Database(settings.database_url).engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'facets'").scalar()
    data = bytearray(path.read_bytes())
    data[(int(root or 0) - 1) * 4096] ^= 0xFF  # what kind of page it is
    path.write_bytes(data)
    problems = whats(Database(settings.database_url), settings)
    assert any("malformed" in what or "the database is damaged" in what for what in problems)


@pytest.mark.parametrize("blocks", [(), (6, 10)])
def test_uncentred_is_the_inverse_of_centring(blocks: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    raw = unit(random.standard_normal((50, 16)).astype(np.float32))
    mean = (raw.mean(0) * 0.9).astype(np.float32)
    sound, back = uncentred(centre(raw, mean, blocks), mean, blocks)
    assert sound.sum() >= 45
    assert np.abs(back[sound] - raw[sound]).max() < 1e-5


def test_a_backup_keeps_checksums(
    database: Database, settings: Settings, store: AssetStore, engine: SearchEngine, gallery: Collection
) -> None:
    from anyseek.search.backup.read import restore
    from anyseek.search.backup.write import backup

    with database.write() as session:
        session.execute(update(ItemRow).where(ItemRow.key == "cat").values(caption="bat"))
    backup(database, store, settings.home / "b.tar")
    other = Settings(home=settings.home / "other")
    restore(other, settings.home / "b.tar")
    restored = Database(other.database_url)
    assert unchecked(restored) == []
    assert whats(restored, other) == ["the row of item 'cat' (number 2) or of one of its files is damaged"]
    with restored.read() as session:
        assert {space.name for space in collections.head(session, "things").spaces} == set(SPACES)
