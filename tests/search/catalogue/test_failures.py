"""What real failures of SQLite and of disks mean."""

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from anyseek.search.catalogue.failures import error_message, translate_error
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
    found = translate_error(failure(file, "INSERT INTO t VALUES (1)"))
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
    assert isinstance(translate_error(failure(file, *statements)), kind)


def test_a_file_that_is_no_database_or_a_damaged_one(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096] = 0xFF  # the type of the table's page
    file.write_bytes(data)
    assert isinstance(translate_error(failure(file, "SELECT * FROM t")), StoreCorrupt)
    file.write_bytes(b"something else, " * 300)
    assert isinstance(translate_error(failure(file, "SELECT * FROM t")), StoreCorrupt)


def test_a_schema_that_is_no_text(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE", b"CREATE \xedABLE"))
    with pytest.raises(StoreCorrupt, match="restore a backup"), Database(f"sqlite:///{file}").read():
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert isinstance(translate_error(failure(tmp_path / "no" / "a.sqlite", "SELECT 1")), StorageReadOnly)


def test_disks() -> None:
    assert isinstance(translate_error(OSError(errno.ENOSPC, "No space left on device")), StorageFull)
    assert isinstance(translate_error(OSError(errno.EROFS, "Read-only file system")), StorageReadOnly)
    assert translate_error(FileNotFoundError(errno.ENOENT, "x")) is None
    assert translate_error(ValueError("x")) is None


def _of_a_full_pool(file: Path) -> SQLAlchemyError:
    engine = create_engine(f"sqlite:///{file}", pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect():
        try:
            engine.connect()
        except SQLAlchemyError as error:
            return error
    raise AssertionError("nothing failed")


def test_no_sentence_leads_to_the_documentation_of_sqlalchemy(file: Path) -> None:
    for error in (failure(file, "SELECT * FROM missing"), _of_a_full_pool(file)):
        assert "Background on this error" in str(error)
        assert "Background on this error" not in error_message(error)
        assert error_message(error).startswith("the database failed: ")
        assert "\n" not in error_message(error)


def test_an_error_that_is_not_of_the_database_says_what_it_says() -> None:
    assert error_message(OSError(errno.ENOSPC, "No space left on device")) == "[Errno 28] No space left on device"
