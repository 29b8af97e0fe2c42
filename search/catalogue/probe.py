"""Probes of the database, as readers and writers use it, that leave nothing behind."""

import uuid
from datetime import timedelta

from anyseek.search.catalogue import collections, owners
from anyseek.search.catalogue.session import Database


class _Undo(Exception):
    """Ends the transaction of a probe, so that it is rolled back."""


def read(database: Database) -> int:
    """Read the collections' ids, and return how many there are. Raises SQLAlchemy's errors."""
    with database.read() as session:
        return len(collections.ids(session))


def write(database: Database) -> None:
    """Write a row in a transaction that is rolled back. Raises SQLAlchemy's errors."""
    try:
        with database.write() as session:
            owners.renew(session, f"probe.{uuid.uuid4().hex}", timedelta(0))
            raise _Undo
    except _Undo:
        return
