"""The pgvector backend: a table of PostgreSQL for each space of a collection and version of its centre.

The catalogue resolves filters to ids. Few ids are compared exactly; for many, a graph over 16-bit vectors proposes
candidates, of which those that pass are scored exactly.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.interruption import explain_interruption, interruptible
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import IndexUnavailable, StoreCorrupt
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import Settings, mask_secrets
from anyseek.search.spaces.base import Neighbours, ResolvedFilters, View, isin_sorted, nearest
from anyseek.search.spaces.filter_cache import FilterCache
from anyseek.search.spaces.shared import PAGE, IndexUnreachable, SharedSpace
from anyseek.search.types import IdArray, Item

# The timeout of a statement; the applier's lease is longer.
TIMEOUT_SECONDS = 20
# If more scores than this are equal at the last place, they come in any order.
MAX_TIES = 20_000
# Up to this many vectors are compared one by one, in some 15 ms; smaller tables have no graph.
EXACT_UP_TO = 10_000
# pgvector builds graphs over 16-bit vectors of at most this many numbers.
GRAPH_DIMENSIONS = 4_000
# A longer vector does not fit on a page of PostgreSQL and must be stored out of line.
PLAIN_DIMENSIONS = 1_900
# The first to have iterative scans.
MINIMUM_VERSION = (0, 8)
SCHEMA = "anyseek_vectors"

_MAX_EF_SEARCH = 1_000  # pgvector's limit; iterative scans go on from there
_MANY = 10_000  # ids in a page
_NAME = re.compile(r"s[0-9a-f]{16}_\d+_(?P<space>\d+)_\d+")


class ExtensionMissing(IndexUnavailable):
    """The database has no pgvector, or one without iterative scans."""

    code = "index-extension-missing"


class PgvectorTable:
    """Vectors of `dimension` in the table `name`; searches with a filter are among the ids that `resolved` has for it.

    All methods raise `IndexUnreachable` while PostgreSQL does not answer, and `StoreCorrupt` if the table is gone.
    """

    def __init__(
        self, dimension: int, engine: Engine, name: str, resolved: ResolvedFilters = MappingProxyType({})
    ) -> None:
        self._dimension = dimension
        self._engine = engine
        self._table, self._graph = f"{SCHEMA}.{name}", f"{name}_graph"
        self._resolved = resolved

    def create(self) -> None:
        """Create the table, if absent; safe for many processes at once. Raises `ExtensionMissing`."""
        with _connect(self._engine) as connection:
            if connection.scalar(text("SELECT to_regclass(:name)"), {"name": self._table}) is not None:
                return
            _require_version(connection)
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": SCHEMA})
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            columns = f"id bigint PRIMARY KEY, vector vector({self._dimension}) NOT NULL"
            connection.execute(text(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns})"))
            if self._dimension <= PLAIN_DIMENSIONS:  # comparing many is faster without a second table
                connection.execute(text(f"ALTER TABLE {self._table} ALTER vector SET STORAGE PLAIN"))

    def upsert(self, ids: IdArray, vectors: FloatArray, items: Sequence[Item] = ()) -> None:
        """Insert or replace vectors; of items only the ids are stored."""
        statement = text(
            f"INSERT INTO {self._table} VALUES (:id, CAST(:vector AS vector)) "
            "ON CONFLICT (id) DO UPDATE SET vector = excluded.vector"
        )
        rows = [{"id": number, "vector": _written(row)} for number, row in zip(ids.tolist(), vectors, strict=True)]
        if rows:
            with _connect(self._engine) as connection:
                connection.execute(statement, rows)

    def delete(self, ids: IdArray) -> None:
        with _connect(self._engine) as connection:
            connection.execute(text(f"DELETE FROM {self._table} WHERE id = ANY(:ids)"), {"ids": ids.tolist()})

    def clear(self) -> None:
        """Remove the table."""
        with _connect(self._engine) as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {self._table}"))

    def ids(self) -> Iterator[IdArray]:
        """All ids, ascending."""
        page = text(f"SELECT id FROM {self._table} WHERE id > :after ORDER BY id LIMIT {_MANY}")
        after = 0
        while True:
            with _connect(self._engine) as connection:
                ids = np.array(connection.scalars(page, {"after": after}).all(), np.int64)
            if not len(ids):
                return
            yield ids
            after = int(ids[-1])

    def count(self) -> int:
        with _connect(self._engine) as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {self._table}")).scalar_one())

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        page = text(f"SELECT id, CAST(vector AS text) FROM {self._table} WHERE id = ANY(:ids) ORDER BY id")
        ascending, rows = np.sort(ids), list[Any]()
        for start in range(0, len(ids), PAGE):
            with _connect(self._engine) as connection:
                rows += connection.execute(page, {"ids": ascending[start : start + PAGE].tolist()}).all()
        vectors = np.array([np.fromstring(row[1][1:-1], np.float32, sep=",") for row in rows], np.float32)
        return np.array([row[0] for row in rows], np.int64), vectors.reshape(len(rows), self._dimension)

    def search(self, vectors: FloatArray, k: int, where: Filter | None = None) -> Neighbours:
        """The `k` nearest; without a graph, and among few ids, exactly."""
        allowed = None if where is None else self._resolved[where]
        with _connect(self._engine) as connection, interruptible(connection):
            in_graph = self._graph_size(connection)

            def find(batch: FloatArray, n: int) -> Neighbours:
                return _as_neighbours([self._nearest(connection, row, n, allowed, in_graph) for row in batch])

            return nearest(find, vectors, k, max(MAX_TIES, k) if allowed is None else len(allowed))

    def build_graph(self) -> None:
        """Build the graph of a large table that has none, while others read and write. Takes minutes to hours.

        An unfinished graph, of a process that ended, is built anew. Only one process builds it.
        """
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with _translate_errors(), connection:
            if self._dimension > GRAPH_DIMENSIONS or self._graph_size(connection) or not self._is_large(connection):
                return
            try:
                locked = text("SELECT pg_try_advisory_lock(hashtext(:name))")
                if connection.scalar(locked, {"name": self._graph}):
                    connection.execute(text("SET statement_timeout = 0"))
                    connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {SCHEMA}.{self._graph}"))
                    halves = f"((vector::halfvec({self._dimension})) halfvec_ip_ops)"
                    made = f"CREATE INDEX CONCURRENTLY {self._graph} ON {self._table} USING hnsw {halves}"
                    connection.exec_driver_sql(made)
            finally:
                connection.invalidate()  # ends the lock and the timeout

    def _is_large(self, connection: Connection) -> bool:
        first = f"SELECT 1 FROM {self._table} LIMIT {EXACT_UP_TO + 1}"
        return int(connection.execute(text(f"SELECT count(*) FROM ({first}) AS first")).scalar_one()) > EXACT_UP_TO

    def _graph_size(self, connection: Connection) -> int:
        """About how many vectors the graph has; 0 without a complete graph."""
        tuples = connection.scalar(
            text(
                "SELECT greatest(reltuples, 1) FROM pg_class JOIN pg_index ON indexrelid = oid "
                "WHERE oid = to_regclass(:name) AND indisvalid"
            ),
            {"name": f"{SCHEMA}.{self._graph}"},
        )
        return int(tuples or 0)

    def _nearest(
        self, connection: Connection, query: FloatArray, n: int, allowed: IdArray | None, in_graph: int
    ) -> Sequence[Any]:
        """Rows (id, score) of the `n` nearest, by score and then by id."""
        written, ids = _written(query), allowed
        if in_graph and (allowed is None or len(allowed) > EXACT_UP_TO):
            ids = self._candidates(connection, written, 2 * n + 20, allowed, in_graph)
        among = "" if ids is None else "WHERE id = ANY(:ids)"
        statement = text(
            f"SELECT id, -(vector <#> CAST(:query AS vector)) AS score FROM {self._table} {among} "
            "ORDER BY score DESC, id LIMIT :n"
        )
        parameters = {"query": written, "n": n} | ({} if ids is None else {"ids": ids.tolist()})
        return connection.execute(statement, parameters).all()

    def _candidates(
        self, connection: Connection, query: str, wanted: int, allowed: IdArray | None, in_graph: int
    ) -> IdArray | None:
        """About `wanted` ids near the query that are allowed; `allowed` itself if the graph does not give as many.

        Half as many again are taken as the filter's share promises, then eight times as many.
        """
        limit = wanted if allowed is None else math.ceil(1.5 * wanted * in_graph / len(allowed))
        for _ in range(2):
            if limit >= in_graph:
                break
            ids = self._walk(connection, query, limit)
            if allowed is not None:
                ids = ids[isin_sorted(ids, allowed)]
            if len(ids) >= wanted:
                return ids[:wanted]
            limit *= 8
        return allowed

    def _walk(self, connection: Connection, query: str, limit: int) -> IdArray:
        """The `limit` nearest ids by the graph, nearest first but for small errors of order."""
        options = {
            "enable_seqscan": "off",
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.ef_search": str(max(100, min(limit, _MAX_EF_SEARCH))),
            "hnsw.max_scan_tuples": str(4 * limit + 20_000),
            "hnsw.scan_mem_multiplier": "64",
        }
        for name, value in options.items():
            connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value})
        kind = f"halfvec({self._dimension})"
        statement = text(
            f"SELECT id FROM {self._table} ORDER BY CAST(vector AS {kind}) <#> CAST(:query AS {kind}) LIMIT :limit"
        )
        ids = connection.scalars(statement, {"query": query, "limit": limit}).all()
        connection.execute(text("SELECT set_config('enable_seqscan', 'on', true)"))
        return np.array(ids, np.int64)


class PgvectorSpace(SharedSpace):
    """A space whose filters are resolved by the catalogue, and whose table gets its graph by upkeep."""

    def __init__(
        self, database: Database, collection_id: int, space: SpaceHead, engine: Engine, filters: FilterCache
    ) -> None:
        super().__init__(database, collection_id, space, self._table_of)
        self._engine, self._filters = engine, filters

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> ResolvedFilters:
        return self._filters.resolve(session, head, filters)

    @contextmanager
    def open_view(self, resolved: ResolvedFilters = MappingProxyType({})) -> Iterator[View]:
        cursor = self._require_cursor()
        table = self._table_of(cursor.centre_version, resolved)
        yield View(cursor.centre, len(self._missing_ids), table.search, table.count, table.vectors)

    def maintain(self, head: Head, minimum_tail: int) -> int:
        seq = super().maintain(head, minimum_tail)
        self._table_of(self._require_cursor().centre_version).build_graph()
        return seq

    def _table_of(self, version: int, resolved: ResolvedFilters = MappingProxyType({})) -> PgvectorTable:
        name = f"{_prefix(self._space)}_{self._collection_id}_{self._space.id}_{version}"
        return PgvectorTable(self._space.dimension, self._engine, name, resolved)


class PgvectorBackend:
    """The pgvector backend, with a pool of connections, each made when it is first needed."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._engine = open_engine(settings.pgvector_address)
        self._filters = FilterCache()

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `IndexUnreachable` and `ExtensionMissing`."""
        engine = open_engine(settings.pgvector_address)
        try:
            with _connect(engine) as connection:
                version = _require_version(connection)
        finally:
            engine.dispose()
        return f"PostgreSQL at {mask_secrets(settings.pgvector_address)} answers, with pgvector {version}"

    def open(self, head: Head, space: SpaceHead) -> SharedSpace:
        return PgvectorSpace(self._database, head.id, space, self._engine, self._filters)

    def clear_filter_cache(self) -> None:
        self._filters.clear()

    def remove_unknown(self) -> None:
        """Remove the tables of spaces that are gone.

        The catalogue is read after the tables, because a space is in the catalogue before it has a table.
        """
        with _connect(self._engine) as connection:
            named = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
            tables = [_NAME.fullmatch(name) for name in connection.scalars(named, {"schema": SCHEMA})]
        with self._database.read() as session:
            known = collections.space_ids(session)
        for table in filter(None, tables):
            if int(table["space"]) not in known:
                PgvectorTable(1, self._engine, table.group()).clear()

    def close(self) -> None:
        self._engine.dispose()


def open_engine(address: str) -> Engine:
    """A pool of connections to a PostgreSQL database; none is made yet."""
    try:
        engine = create_engine(
            address,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": TIMEOUT_SECONDS,
                "options": f"-c statement_timeout={1000 * TIMEOUT_SECONDS}",
            },
        )
    except ModuleNotFoundError as error:
        raise IndexUnavailable("pgvector needs psycopg; run pip install 'anyseek[services]'") from error
    event.listen(engine, "handle_error", explain_interruption)
    return engine


@contextmanager
def _connect(engine: Engine) -> Iterator[Connection]:
    """A connection with a transaction, which is committed at the end of the block."""
    with _translate_errors(), engine.begin() as connection:
        yield connection


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise PostgreSQL's errors as `AnyseekError`s."""
    try:
        yield
    except PoolTimeout as error:
        raise IndexUnreachable("all connections to PostgreSQL's vectors are in use; try again later") from error
    except DBAPIError as error:
        raise _translated(error) from error


def _translated(error: DBAPIError) -> IndexUnavailable | StoreCorrupt:
    said = str(error.orig).strip()
    match getattr(error.orig, "sqlstate", None):
        case "42P01":  # no such table
            return StoreCorrupt("PostgreSQL has lost a table of vectors that was filled; run anyseek rebuild")
        case "42704":  # no such type
            return ExtensionMissing(_MISSING)
        case "42501":  # no privilege
            return IndexUnreachable(
                f"PostgreSQL refused: {said}; give the address's user CREATE on the database, and the schema {SCHEMA}"
            )
        case "57014":  # timeout
            return IndexUnreachable(
                f"PostgreSQL took longer than {TIMEOUT_SECONDS} s among the vectors; try again later"
            )
    return IndexUnreachable(
        f"PostgreSQL does not answer for vectors: {said}; check that it runs at ANYSEEK_PGVECTOR_URL or "
        "ANYSEEK_DATABASE_URL"
    )


_MISSING = (
    "the database has no pgvector; install pgvector 0.8 or newer on its server, and run CREATE EXTENSION vector "
    "in the database as a superuser"
)


def _require_version(connection: Connection) -> str:
    """The version of the extension. Raises `ExtensionMissing`."""
    version = connection.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
    if version is None:
        raise ExtensionMissing(_MISSING)
    if tuple(map(int, version.split(".")[:2])) < MINIMUM_VERSION:
        raise ExtensionMissing(
            f"pgvector {version} has no iterative scans; install 0.8 or newer on the server, and run "
            "ALTER EXTENSION vector UPDATE"
        )
    return str(version)


def _prefix(space: SpaceHead) -> str:
    """The beginning of the names of a space's tables, which says the weights that its vectors come from."""
    return "s" + hashlib.sha256(f"{space.name}/{space.fingerprint}".encode()).hexdigest()[:16]


def _written(vector: FloatArray) -> str:
    """A vector as pgvector reads it; no digit is lost."""
    return str(vector.tolist())


def _as_neighbours(answers: Sequence[Sequence[Any]]) -> Neighbours:
    count = min(map(len, answers))  # the same for all, unless vectors are deleted meanwhile
    ids = np.array([[row[0] for row in rows[:count]] for rows in answers], np.int64)
    scores = np.array([[row[1] for row in rows[:count]] for rows in answers], np.float32)
    return Neighbours(ids.reshape(len(answers), count), scores.reshape(len(answers), count))
