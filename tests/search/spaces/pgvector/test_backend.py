"""pgvector's graph, which only large tables have, and databases that lack what it needs."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import StoreCorrupt
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import KEY, Compare, Operator
from anyseek.search.settings import BadSetting, Index, Pgvector, Settings
from anyseek.search.spaces.base import check_backend
from anyseek.search.spaces.pgvector import backend
from anyseek.search.spaces.pgvector.backend import ExtensionMissing, PgvectorBackend, PgvectorTable, open_engine
from anyseek.search.spaces.shared import IndexUnreachable
from anyseek.search.types import IdArray, Query
from anyseek.search.upkeep.verify import verify
from tests.contracts.vector_indexes import NEEDS_PGVECTOR, pgvector_url
from tests.search.gallery import Things, WordsEmbedder, keys, make_collection
from tests.search.gallery import text as words

pytestmark = NEEDS_PGVECTOR
DIMENSION, COUNT = 32, 3_000
WHERE = Compare(KEY, Operator.EQUAL, "allowed")


@pytest.fixture(autouse=True)
def few_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "EXACT_UP_TO", 50)


def run_sql(address: str, *statements: str) -> None:
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def address() -> Iterator[str]:
    """An empty database on the server, without the extension."""
    name = f"test_{uuid.uuid4().hex}"
    run_sql(pgvector_url(), f"CREATE DATABASE {name}")
    yield make_url(pgvector_url()).set(database=name).render_as_string(hide_password=False)
    run_sql(pgvector_url(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(address: str) -> Iterator[Engine]:
    run_sql(address, "CREATE EXTENSION vector")
    engine = open_engine(address)
    yield engine
    engine.dispose()


def settings_of(home: Path, address: str) -> Settings:
    return Settings(home, index=Index("pgvector"), pgvector=Pgvector(address))


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def rows() -> np.ndarray:
    return unit_rows(COUNT, 1)


@pytest.fixture
def table(engine: Engine, rows: np.ndarray) -> PgvectorTable:
    """A table with a graph."""
    table = PgvectorTable(DIMENSION, engine, "things")
    table.create()
    table.upsert(np.arange(1, COUNT + 1), rows)
    table.build_graph()
    return table


def graphs(engine: Engine) -> list[bool]:
    """Whether each graph is complete."""
    with engine.connect() as connection:
        valid = "SELECT indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = 'things_graph'"
        return list(connection.scalars(text(valid)))


def recall(table: PgvectorTable, rows: np.ndarray, allowed: IdArray | None) -> float:
    """The share of the exact ten nearest that the table finds for 20 queries."""
    queries = unit_rows(20, 2)
    found = table.search(queries, 10, None if allowed is None else WHERE)
    assert found.ids.shape == (20, 10)
    among = np.arange(1, len(rows) + 1) if allowed is None else allowed
    scores = queries @ rows[among - 1].T
    np.testing.assert_allclose(found.scores, np.sum(queries[:, None] * rows[found.ids - 1], axis=2), atol=1e-5)
    nearest = among[np.argsort(-scores, axis=1)[:, :10]]
    hits = [len(set(one) & set(other)) for one, other in zip(found.ids.tolist(), nearest.tolist(), strict=True)]
    return sum(hits) / nearest.size


@pytest.mark.parametrize("step", [None, 2, 20], ids=["all", "half", "a twentieth"])
def test_the_graph_finds_what_comparing_all_finds(
    table: PgvectorTable, engine: Engine, rows: np.ndarray, step: int | None
) -> None:
    assert graphs(engine) == [True]
    allowed = None if step is None else np.arange(1, COUNT + 1, step)
    assert len(rows) == COUNT
    resolved = {} if allowed is None else {WHERE: allowed}
    assert recall(PgvectorTable(DIMENSION, engine, "things", resolved), rows, allowed) >= 0.95


def test_what_is_allowed_and_far_away_is_found_all_the_same(
    table: PgvectorTable, engine: Engine, rows: np.ndarray
) -> None:
    query = unit_rows(1, 3)
    farthest = np.sort(np.argsort(rows @ query[0])[:60] + 1)
    found = PgvectorTable(DIMENSION, engine, "things", {WHERE: farthest}).search(query, 60, WHERE)
    assert sorted(found.ids[0].tolist()) == farthest.tolist()
    assert (np.diff(found.scores[0]) <= 0).all()


def test_changes_after_the_graph_are_found_at_once(table: PgvectorTable) -> None:
    query = unit_rows(1, 4)
    table.upsert(np.array([9_999]), query)
    assert table.search(query, 1).ids.tolist() == [[9_999]]
    table.delete(np.array([9_999]))
    assert table.search(query, 1).ids.tolist() != [[9_999]]
    assert table.count() == COUNT
    assert sum(map(len, table.ids())) == COUNT


def test_an_unfinished_graph_is_not_used_and_built_anew(table: PgvectorTable, engine: Engine, rows: np.ndarray) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'anyseek_vectors.things_graph'::regclass")
        )
    assert recall(table, rows, None) == 1, "everything is compared"
    table.build_graph()
    assert graphs(engine) == [True]


def test_a_graph_that_another_process_builds_is_left_to_it(table: PgvectorTable, engine: Engine) -> None:
    run_sql(engine.url.render_as_string(hide_password=False), "DROP INDEX anyseek_vectors.things_graph")
    with engine.connect() as other:
        other.execute(text("SELECT pg_advisory_lock(hashtext('things_graph'))"))
        table.build_graph()
        assert graphs(engine) == []
        other.invalidate()
    table.build_graph()
    assert graphs(engine) == [True]


def test_catalogue_and_vectors_share_a_database(address: str, tmp_path: Path) -> None:
    run_sql(address, "CREATE EXTENSION vector")
    settings = Settings(tmp_path, database_url=address, index=Index("pgvector"))
    embedder = WordsEmbedder()
    with closing(Database(address)) as database:
        upgrade(database)
        things = Things(database, make_collection(database, embedder), embedder)
        with closing(SearchEngine(database, settings, embedder)) as engine:
            things.put([f"k{number}" for number in range(100)])
            engine.write_snapshots("things")
            with database.read() as session:
                made = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%_graph'"
                assert session.execute(text(made)).scalar_one() == 2
            assert keys(engine.query("things", Query((words("k7"),), k=1))) == ["k7"]
            where = filter_from_text("not @key = k7")
            assert "k7" not in keys(engine.query("things", Query((words("k7"),), k=5, where=where)))
        assert verify(database, settings) == []
        with database.write() as session:
            collections.delete(session, "things")
        with closing(PgvectorBackend(database, settings)) as opened:
            opened.remove_unknown()
        with database.read() as session:
            left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'anyseek_vectors'"
            assert session.execute(text(left)).scalar_one() == 0


def test_a_database_without_the_extension_says_how_to_get_it(address: str, tmp_path: Path) -> None:
    with pytest.raises(ExtensionMissing, match="CREATE EXTENSION vector"):
        check_backend(settings_of(tmp_path, address))
    engine = open_engine(address)
    with pytest.raises(ExtensionMissing, match="CREATE EXTENSION vector"):
        PgvectorTable(DIMENSION, engine, "things").create()
    engine.dispose()


def test_an_extension_that_is_too_old_is_named(address: str, tmp_path: Path) -> None:
    run_sql(address, "CREATE EXTENSION vector", "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    with pytest.raises(ExtensionMissing, match=r"pgvector 0\.7\.4 .* ALTER EXTENSION vector UPDATE"):
        check_backend(settings_of(tmp_path, address))


def test_a_user_who_may_not_create_a_schema_is_told_so(address: str) -> None:
    role = f"reader_{uuid.uuid4().hex}"
    run_sql(address, "CREATE EXTENSION vector", f"CREATE ROLE {role} LOGIN")
    engine = open_engine(make_url(address).set(username=role).render_as_string())
    with pytest.raises(IndexUnreachable, match="CREATE on the database"):
        PgvectorTable(DIMENSION, engine, "things").create()
    engine.dispose()
    run_sql(address, f"DROP ROLE {role}")


def test_a_table_that_is_gone_is_damage(engine: Engine) -> None:
    with pytest.raises(StoreCorrupt, match="anyseek rebuild"):
        PgvectorTable(DIMENSION, engine, "nothing").count()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IndexUnreachable, match="ANYSEEK_PGVECTOR_URL"):
        check_backend(settings_of(tmp_path, "postgresql+psycopg://nobody@127.0.0.1:9/none"))


def test_it_needs_postgresql(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="ANYSEEK_PGVECTOR_URL or ANYSEEK_DATABASE_URL"):
        Settings(tmp_path, index=Index("pgvector"))


def test_vectors_too_long_for_a_page_are_stored(engine: Engine) -> None:
    rows = np.random.default_rng(0).standard_normal((3, 5_000)).astype(np.float32)
    table = PgvectorTable(5_000, engine, "long")
    table.create()
    table.upsert(np.arange(1, 4), rows)
    np.testing.assert_array_equal(table.vectors(np.array([2]))[1], rows[1:2])
    table.build_graph()  # none is possible
    assert table.search(rows[2:], 1).ids.tolist() == [[3]]
