"""The database's own check of itself: its pages, its indexes, and that both agree."""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from anyseek.search.catalogue.tables import Table

_MOST = 20
_HAS_AMCHECK = text("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")
_INDEXES = text(
    "SELECT c.oid, c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t "
    "ON t.oid = i.indrelid JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND t.relname = :table "
    "AND t.relnamespace = current_schema()::regnamespace"
)


def faults(session: Session) -> Iterator[str]:
    """What the database finds wrong with itself, one sentence each. PostgreSQL needs the extension amcheck for it."""
    if session.get_bind().dialect.name == "sqlite":
        yield from _of_sqlite(session)
    elif session.scalar(_HAS_AMCHECK) is not None:
        for table in Table.metadata.sorted_tables:
            yield from _of_postgres(session, table.name)


def disagrees(session: Session, table: str) -> bool:
    """Whether a table of SQLite and its indexes disagree. PostgreSQL is not asked: it has checksums of its pages."""
    if session.get_bind().dialect.name != "sqlite":
        return False
    return session.scalars(text(f"PRAGMA integrity_check({table})")).all() != ["ok"]


def index_again(session: Session, table: str) -> None:
    """Make the indexes of a table of SQLite anew."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text(f"REINDEX {table}"))


def mend_indexes(session: Session) -> None:
    """Make the indexes of a SQLite database anew from its tables, where they disagree."""
    if session.get_bind().dialect.name == "sqlite" and any(_of_sqlite(session)):
        session.execute(text("REINDEX"))


def _of_sqlite(session: Session) -> Iterator[str]:
    """The sentences of `PRAGMA integrity_check`, in so far as it can be run."""
    found = session.scalars(text(f"PRAGMA integrity_check({_MOST})")).all()
    yield from (f"the database is damaged: {what}" for what in found if what != "ok")


def _of_postgres(session: Session, table: str) -> Iterator[str]:
    for oid, name in session.execute(_INDEXES, {"table": table}).all():
        try:
            with session.begin_nested():
                session.execute(text("SELECT bt_index_check(CAST(:oid AS oid), true)"), {"oid": oid})
        except DBAPIError as error:
            yield f"the index {name} of the database is damaged: {str(error.orig).splitlines()[0]}"
    for (what,) in session.execute(text("SELECT msg FROM verify_heapam(CAST(:table AS regclass))"), {"table": table}):
        yield f"the table {table} of the database is damaged: {what}"
