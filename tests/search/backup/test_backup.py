"""A backup holds everything, and what is damaged, foreign or in the way is refused before anything is written."""

import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.backup import write as writing
from anyseek.search.backup.read import check, restore
from anyseek.search.backup.write import backup, included_tables
from anyseek.search.catalogue import api_keys, collections, items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import FacetRow
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BackupCorrupt, BackupUnknown, TargetNotEmpty
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, Query
from anyseek.search.upkeep.verify import verify
from tests.contracts.catalogue import empty
from tests.contracts.conftest import NEEDS_POSTGRES, POSTGRES
from tests.search.gallery import WordsEmbedder, item_of, keys, make_collection, open_catalogue, put, remove, thumbnail
from tests.search.gallery import text as words


class Installed:
    """An installation whose collection has items, deletions, stored files and an API key."""

    def __init__(self, home: Path, database_url: str = "") -> None:
        self.settings = Settings(home=home, database_url=database_url)
        if database_url:
            home.mkdir(parents=True, exist_ok=True)
            self.database = Database(database_url)
            upgrade(self.database)
            empty(self.database)
        else:
            self.settings, self.database = open_catalogue(home)
        self.assets = FolderAssetStore(self.settings.assets)

    def fill(self) -> None:
        embedder = WordsEmbedder()
        collection = make_collection(self.database, embedder)
        put(self.database, collection, embedder, [f"item {number}" for number in range(70)])
        with self.database.write() as session:
            items.write(session, collection, [thumbnail(self.assets, key) for key in ("ä", "b")])
            api_keys.add(session, "reader", "ab" * 32, "read")
        remove(self.database, collection, ["item 69", "item 3"])

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        with self.database.read() as session:
            found = {
                table.name: session.execute(select(table).order_by(*table.primary_key)) for table in included_tables()
            }
            return {name: [tuple(map(plain, row)) for row in rows] for name, rows in found.items()}

    def answer(self) -> list[str]:
        engine = SearchEngine(self.database, self.settings, WordsEmbedder())
        return keys(engine.query("things", Query((words("item 7"),), 3)))


def plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of an installation, which no test may change, and its backup beside it."""
    home = tmp_path_factory.mktemp("original") / "home"
    made = Installed(home)
    made.fill()
    backup(made.database, made.assets, home.with_name("backup.tar"))
    made.database.close()
    return home


@pytest.fixture
def installed(original: Path, tmp_path: Path) -> Iterator[Installed]:
    """A copy of the original."""
    shutil.copytree(original, tmp_path / "source")
    made = Installed(tmp_path / "source")
    yield made
    made.database.close()


@pytest.fixture
def file(original: Path) -> Path:
    return original.with_name("backup.tar")


def check_same(before: Installed, after: Installed) -> None:
    found = after.rows()
    assert "restore" in found["audit"].pop(), "the audit log tells it"
    assert found == before.rows()
    assert verify(after.database, after.settings) == []
    assert after.answer() == before.answer()
    with after.database.read() as session:
        assert session.scalar(select(func.count()).select_from(FacetRow))
    asset = item_of(after.database, collection_of(after), "ä").assets["thumbnail"]
    assert after.assets.read(asset) == before.assets.read(asset)


def collection_of(installed: Installed) -> Collection:
    with installed.database.read() as session:
        return collections.get(session, "things")


def test_everything_comes_back(installed: Installed, file: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "target")
    restored = restore(settings, file)
    assert (restored.rows["items"], restored.assets, restored.with_assets) == (70, 2, True)
    check_same(installed, Installed(tmp_path / "target"))


def test_ids_go_on_where_they_were(installed: Installed, file: Path, tmp_path: Path) -> None:
    """The item with the highest id was deleted: its number stays in the log and is given to nobody."""
    restore(Settings(home=tmp_path / "target"), file)
    after = Installed(tmp_path / "target")
    with installed.database.read() as session:
        highest = session.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'items'"))
    (made,) = put(after.database, collection_of(after), WordsEmbedder(), ["new"])
    assert made.id == highest + 1
    assert make_collection(after.database, WordsEmbedder(), "other").spaces["looks"].id > 2


@NEEDS_POSTGRES
def test_across_databases_and_back(installed: Installed, file: Path, tmp_path: Path) -> None:
    postgres = Installed(tmp_path / "postgres", os.environ[POSTGRES])
    restore(postgres.settings, file)
    check_same(installed, postgres)
    put(postgres.database, collection_of(postgres), WordsEmbedder(), ["new"])
    second = tmp_path / "second.tar"
    backup(postgres.database, postgres.assets, second)
    restore(Settings(home=tmp_path / "back"), second)
    check_same(postgres, Installed(tmp_path / "back"))
    with pytest.raises(TargetNotEmpty):
        restore(postgres.settings, second)
    empty(postgres.database)
    postgres.database.close()


def test_it_is_of_one_moment_while_others_write(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = collection_of(installed)
    original = writing._write_table

    def and_write(session: object, table: object, columns: object, writer: object) -> object:
        put(installed.database, collection, WordsEmbedder(), [f"at {table}"])
        return original(session, table, columns, writer)

    monkeypatch.setattr(writing, "_write_table", and_write)
    backup(installed.database, installed.assets, tmp_path / "b.tar")
    restore(Settings(home=tmp_path / "target"), tmp_path / "b.tar")
    after = Installed(tmp_path / "target")
    assert len(after.rows()["items"]) == 70
    assert verify(after.database, after.settings) == []


def test_without_assets_it_says_so(installed: Installed, tmp_path: Path) -> None:
    backup(installed.database, installed.assets, tmp_path / "b.tar", with_assets=False)
    restored = restore(Settings(home=tmp_path / "target"), tmp_path / "b.tar")
    assert (restored.assets, restored.with_assets) == (0, False)
    assert len(verify(Installed(tmp_path / "target").database, Settings(home=tmp_path / "target"))) == 2


def test_a_damaged_stored_file_leaves_no_backup(installed: Installed, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(b"the backup of before")
    asset = item_of(installed.database, collection_of(installed), "b").assets["thumbnail"]
    for spoil in (lambda file: file.write_bytes(b"?" * asset.size_bytes), lambda file: file.unlink()):
        spoil(installed.assets.path(asset))
        with pytest.raises(BackupCorrupt, match="rebuild"):
            backup(installed.database, installed.assets, path)
    assert path.read_bytes() == b"the backup of before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_one_that_is_cut_short_is_refused_wherever_it_ends(file: Path, tmp_path: Path) -> None:
    data, cut = file.read_bytes(), tmp_path / "cut.tar"
    chance = random.Random(5)
    random_ends = [chance.randrange(len(data)) for _ in range(8)]
    for end in (0, 100, 512, len(data) // 2, data.rindex(b"manifest.json"), *random_ends):
        if end > data.rindex(b"sha256"):
            continue  # only the padding after the manifest is missing
        cut.write_bytes(data[:end])
        with pytest.raises(BackupCorrupt):
            restore(Settings(home=tmp_path / "target"), cut)
    assert not (tmp_path / "target").exists()


def test_a_flipped_byte_is_refused_or_stands_where_nothing_is(installed: Installed, file: Path, tmp_path: Path) -> None:
    data, chance = file.read_bytes(), random.Random(6)
    spoiled = tmp_path / "spoiled.tar"
    refused = 0
    for _ in range(60):
        place = chance.randrange(len(data))
        spoiled.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            check(spoiled)
        except (BackupCorrupt, BackupUnknown):
            refused += 1
        else:
            assert data[place] == 0, f"the flipped byte {place} was not seen"
    assert refused > 20


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for name, content in (("notes.txt", b"hello"), ("backup.json", b"{}"), ("backup.json", b'{"format": 0}')):
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        with pytest.raises((BackupCorrupt, BackupUnknown)):
            check(path)
    path.write_bytes(b"no tar at all, but long enough to be one" * 100)
    with pytest.raises(BackupCorrupt, match="not a backup"):
        check(path)


def test_another_format_is_refused_with_what_to_do(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyseek.search.backup.write.FORMAT", 0)
    backup(installed.database, installed.assets, tmp_path / "old.tar")
    monkeypatch.undo()
    with pytest.raises(BackupUnknown, match=r"format 0.*reads format 1"):
        restore(Settings(home=tmp_path / "target"), tmp_path / "old.tar")


def test_tables_of_another_version_are_refused(installed: Installed, tmp_path: Path) -> None:
    with installed.database.engine.begin() as connection:
        connection.execute(text("BEGIN"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    backup(installed.database, installed.assets, tmp_path / "newer.tar")
    with pytest.raises(BackupUnknown, match="9999"):
        restore(Settings(home=tmp_path / "target"), tmp_path / "newer.tar")
    restored = Database(f"sqlite:///{tmp_path / 'target' / 'catalogue.sqlite'}")
    with restored.engine.connect() as connection:
        assert not connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'items'")).all()


def test_where_something_is_already_nothing_is_restored(installed: Installed, file: Path, tmp_path: Path) -> None:
    before = installed.rows()
    with pytest.raises(TargetNotEmpty, match="rows in"):
        restore(installed.settings, file)
    assert installed.rows() == before
    old = tmp_path / "old"
    (old / "indexes" / "1" / "1").mkdir(parents=True)
    with pytest.raises(TargetNotEmpty, match="indexes"):
        restore(Settings(home=old), file)
    assert not (old / "catalogue.sqlite").exists()


def test_a_kill_before_the_end_leaves_an_empty_installation(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "target")
    monkeypatch.setattr("anyseek.search.backup.read._advance_id_sequences", lambda connection: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        restore(settings, file)
    monkeypatch.undo()
    restore(settings, file)
    assert len(Installed(tmp_path / "target").rows()["items"]) == 70


def test_the_manifest_names_every_member(file: Path) -> None:
    with tarfile.open(file) as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())["manifest"]  # type: ignore[union-attr]
        names = set(tar.getnames())
    assert names == {*manifest["members"], "manifest.json"} | {name for name in names if name.startswith("assets/")}
    assert manifest["assets"] == 2
    assert {"tables/log/00000001.jsonl", "tables/log/00000001.bin"} <= names
    assert not {name for name in names if "facets" in name or "owners" in name}
