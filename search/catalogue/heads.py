"""Heads of collections, kept for as long as nothing is committed."""

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.commits import Version
from anyseek.search.catalogue.session import Database


class Heads:
    """The heads that queries ask for again and again. Safe for many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, tuple[Version, Head]] = {}  # by the collection's name

    def get(self, name: str) -> Head:
        """The current state of the collection, as `collections.head` reads it. Raises `CollectionNotFound`."""
        version = self._database.version()  # before the head: what is committed in between is seen the next time
        held = self._held.get(name)
        if version is not None and held is not None and held[0] == version:
            return held[1]
        with self._database.once() as connection:
            head = collections.head(connection, name)
        if version is not None:
            self._held[name] = version, head
        return head

    def forget(self) -> None:
        """Hold nothing more of deleted collections."""
        self._held = {}
