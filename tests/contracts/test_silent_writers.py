"""A writer that hangs amid its transaction does not hold up the others for as long as it hangs, on PostgreSQL.

A worker that is stopped there holds locks on its leases, and all others wait for these when they look for lost ones.
"""

import time

import pytest
from sqlalchemy import text

from anyseek.indexer.runs import TRANSIENT
from anyseek.search.catalogue import items, session
from anyseek.search.catalogue.session import Database
from anyseek.search.types import Collection
from tests.contracts.conftest import NEEDS_POSTGRES
from tests.search.gallery import WordsEmbedder, item_of, new_item, put

_BRIEFLY = 1
_MANY = [{"to": "nothing", "key": key} for key in ("x", "y")]  # after which PostgreSQL would count no silence by itself


@NEEDS_POSTGRES
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_it_is_undone_and_the_others_go_on(
    database: Database, embedder: WordsEmbedder, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENT_WRITER_SECONDS", _BRIEFLY)

    def write_and_hang() -> None:
        with database.write() as silent:
            items.write(silent, collection, [new_item(embedder, "of the silent one")])
            silent.connection().execute(text("UPDATE items SET caption = :to WHERE key = :key"), _MANY)
            started = time.monotonic()
            put(database, collection, embedder, ["of another"])  # waits for the collection's lock
            assert time.monotonic() - started > _BRIEFLY / 2
            items.write(silent, collection, [new_item(embedder, "too late")])

    with pytest.raises(TRANSIENT, match="idle-in-transaction"):
        write_and_hang()
    assert item_of(database, collection, "of another").revision == 1
    with database.read() as reading:
        assert list(items.by_keys(reading, collection, ["of the silent one", "too late"])) == []
