"""The migrations make exactly the tables that the program knows."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import Table, is_of_catalogue
from anyseek.search.catalogue.upgrade import NEWEST, configuration, upgrade
from tests.forked import begun, exit_code

# SQLite writes a column that is added later on the line of the one before.
_CLAUSE_END = re.compile(r"\n|, (?=\w+ [A-Z])")


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A migrated database, which no test may change."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('migrated') / 'a.sqlite'}")
    upgrade(database)
    return database


@pytest.fixture
def database(newest: Database, tmp_path: Path) -> Database:
    """A copy of the migrated database."""
    with closing(sqlite3.connect(str(newest.engine.url.database))) as source:
        source.execute("VACUUM INTO ?", (str(tmp_path / "a.sqlite"),))
    return Database(f"sqlite:///{tmp_path / 'a.sqlite'}")


def statements(database_url: str) -> dict[str, set[str]]:
    """The SQL of every table and index, one set of clauses each, without Alembic's own table."""
    with create_engine(database_url).connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {
            name: {clause.strip().rstrip(",") for clause in _CLAUSE_END.split(sql.replace("\n)", "\n"))}
            for name, sql in rows
            if not name.startswith(("alembic", "sqlite_"))
        }


def test_alembic_sees_no_difference_to_the_tables(newest: Database) -> None:
    with newest.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "include_name": is_of_catalogue}
        )
        assert compare_metadata(context, Table.metadata) == []


def test_migrated_tables_are_those_of_the_metadata_to_the_letter(newest: Database, tmp_path: Path) -> None:
    Table.metadata.create_all(create_engine(f"sqlite:///{tmp_path / 'b.sqlite'}"))
    assert statements(newest.url) == statements(f"sqlite:///{tmp_path / 'b.sqlite'}")


def test_going_back_to_nothing_leaves_nothing(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(configuration(connection), "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]


def test_the_newest_version_is_the_one_that_the_program_says(newest: Database) -> None:
    with newest.engine.connect() as connection:
        assert ScriptDirectory.from_config(configuration(connection)).get_current_head() == NEWEST


def test_tables_of_an_older_version_are_upgraded_once(database: Database) -> None:
    before = statements(database.url)
    with database.engine.begin() as connection:
        command.downgrade(configuration(connection), "-2")
    assert statements(database.url) != before
    for _ in range(2):
        upgrade(database)
        assert statements(database.url) == before


def upgrade_at(url: str) -> None:
    upgrade(Database(url))


def test_many_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'a.sqlite'}"
    processes = [begun(upgrade_at, url) for _ in range(3)]
    assert [exit_code(process) for process in processes] == [0] * 3
    with Database(url).read() as session:
        assert session.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
