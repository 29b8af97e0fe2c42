"""What real failures of SQLite and of disks mean."""

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from anyseek.search.catalogue.failures import meaning
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, DatabaseBusy, DatabaseFailed, StorageFull, StorageReadOnly, StoreCorrupt


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    return path


def failure(path: Path, *statements: str) -> SQLAlchemyError:
    """What the last of the statements fails with."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.01})
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    except SQLAlchemyError as error:
        return error
    raise AssertionError("nothing failed")


def test_a_locked_database(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = meaning(failure(file, "INSERT INTO t VALUES (1)"))
    other.close()
    assert isinstance(found, DatabaseBusy)
    assert "try again" in str(found)


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (("PRAGMA max_page_count=2", "INSERT INTO t VALUES (randomblob(100000))"), StorageFull),
        (("PRAGMA query_only=ON", "INSERT INTO t VALUES (1)"), StorageReadOnly),
        (("SELECT * FROM missing",), DatabaseFailed),
    ],
)
def test_what_statements_fail_with(file: Path, statements: tuple[str, ...], kind: type[AnyseekError]) -> None:
    assert isinstance(meaning(failure(file, *statements)), kind)


def test_a_file_that_is_no_database_or_a_damaged_one(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096] = 0xFF  # the type of the table's page
    file.write_bytes(data)
    assert isinstance(meaning(failure(file, "SELECT * FROM t")), StoreCorrupt)
    file.write_bytes(b"something else, " * 300)
    assert isinstance(meaning(failure(file, "SELECT * FROM t")), StoreCorrupt)


def test_a_schema_that_is_no_text(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE", b"CREATE \xedABLE"))
    with pytest.raises(StoreCorrupt, match="restore a backup"), Database(f"sqlite:///{file}").read():
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert isinstance(meaning(failure(tmp_path / "no" / "a.sqlite", "SELECT 1")), StorageReadOnly)


def test_disks() -> None:
    assert isinstance(meaning(OSError(errno.ENOSPC, "No space left on device")), StorageFull)
    assert isinstance(meaning(OSError(errno.EROFS, "Read-only file system")), StorageReadOnly)
    assert meaning(FileNotFoundError(errno.ENOENT, "x")) is None
    assert meaning(ValueError("x")) is None
