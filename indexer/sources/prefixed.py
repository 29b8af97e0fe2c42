"""A source whose keys get a prefix, so that two folders with the same names in them live in one collection."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from anyseek.indexer.descriptions import Description
from anyseek.indexer.errors import BadDescription
from anyseek.indexer.sources.base import Found, Position, Source
from anyseek.search.catalogue.items import KEYS, is_key
from anyseek.search.errors import BadInput
from anyseek.search.filters.tree import is_storable

PREFIX_CHARACTERS = 200


def read_prefix(given: str) -> str:
    """The prefix that a user gives, with one slash at its end, or "" for none.

    Raises `BadInput` for one that is too long or not Unicode text.
    """
    if len(given) > PREFIX_CHARACTERS or not is_storable(given):
        raise BadInput(
            f"{given[:40]!r} cannot be a prefix of keys; use up to {PREFIX_CHARACTERS} characters of Unicode text"
        )
    return f"{given.strip('/')}/" if given.strip("/") else ""


def prefixed(source: Source, prefix: str) -> Source:
    """The source with `prefix` before its keys."""
    return _Prefixed(source, prefix) if prefix else source


class _Prefixed:
    """Implements `Source` by another one."""

    def __init__(self, source: Source, prefix: str) -> None:
        self._source, self._prefix = source, prefix

    @property
    def uri(self) -> str:
        return self._source.uri

    @property
    def ignored(self) -> int:
        return self._source.ignored

    @property
    def threads(self) -> int:
        return self._source.threads

    def check(self) -> None:
        self._source.check()

    def can_resume(self, position: Position) -> bool:
        return self._source.can_resume(position)

    def scan(self, position: Position | None = None) -> Iterator[Found]:
        for found in self._source.scan(position):
            try:
                yield replace(found, key=self._keyed(found.key))
            except BadDescription as error:
                yield replace(found, reason=str(error), reason_code=error.code)

    def describe(self, uri: str) -> Description:
        said = self._source.describe(uri)
        return replace(said, key=self._keyed(said.key or ""))

    def open(self, ref: str) -> bytes:
        return self._source.open(ref)

    def name(self, ref: str) -> str:
        return self._source.name(ref)

    def state(self, ref: str) -> str | None:
        return self._source.state(ref)

    def local(self, ref: str) -> Path | None:
        return self._source.local(ref)

    def input_at(self, location: str) -> str | None:
        return self._source.input_at(location)

    def _keyed(self, key: str) -> str:
        if not is_key(self._prefix + key):
            raise BadDescription(f"with its prefix, the key {key[:40]!r} is not {KEYS}; give a shorter one")
        return self._prefix + key
