"""The comparison sees what it is there to see, on a job that went well and then was damaged by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from anyseek.indexer.runs import IndexerContext
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.tables import ItemRow, LedgerRow, LogRow
from anyseek.search.types import Collection
from tests.faults.comparison import Outcome, compare
from tests.faults.gallery import Gallery, make_gallery
from tests.indexer.harness import NAME, index, installation
from tests.search.gallery import all_items

INPUTS = 20


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return make_gallery(tmp_path / "photos", INPUTS, seed=1)


@pytest.fixture
def context(tmp_path: Path, gallery: Gallery) -> Iterator[IndexerContext]:
    with installation(tmp_path / "home") as context:
        index(context, gallery.folder)
        yield context


def outcome(context: IndexerContext, gallery: Gallery) -> Outcome:
    return compare(context.database, context.settings, gallery, NAME)


def first_item(session: Session) -> tuple[Collection, str]:
    collection = collections.get(session, NAME)
    return collection, all_items(session, collection)[0].key


def test_a_job_that_went_well(context: IndexerContext, gallery: Gallery) -> None:
    assert len(gallery.bad) == 3
    assert outcome(context, gallery) == Outcome(0, 0, 3, ())


def test_an_item_that_is_gone_is_lost(context: IndexerContext, gallery: Gallery) -> None:
    with context.database.write() as session:
        collection, key = first_item(session)
        items.delete(session, collection, [key])
    assert outcome(context, gallery).lost == 1


def test_an_item_without_its_vector_is_lost(context: IndexerContext, gallery: Gallery) -> None:
    with context.database.write() as session:
        session.execute(delete(LogRow).where(LogRow.seq == 5))
    found = outcome(context, gallery)
    assert found.lost == 1
    assert any("no vector" in what for what in found.wrong)


def test_an_item_that_was_written_twice_is_doubled(context: IndexerContext, gallery: Gallery) -> None:
    with context.database.write() as session:
        _, key = first_item(session)
        session.execute(update(ItemRow).where(ItemRow.key == key).values(content_hash="of before"))
    (gallery.folder / key).touch()
    index(context, gallery.folder)
    found = outcome(context, gallery)
    assert (found.lost, found.doubled) == (0, 1)


def test_an_item_that_nobody_put_in_is_doubled(context: IndexerContext, gallery: Gallery) -> None:
    strangers = Gallery(gallery.folder, gallery.good - {min(gallery.good)}, gallery.bad)
    assert outcome(context, strangers).doubled == 1


def test_a_bad_input_with_another_reason(context: IndexerContext, gallery: Gallery) -> None:
    with context.database.write() as session:
        session.execute(update(LedgerRow).where(LedgerRow.uri.in_(gallery.bad)).values(reason_code="other"))
    found = outcome(context, gallery)
    assert found.quarantined == 0
    assert any("as other, not" in what for what in found.wrong)


def test_an_input_that_the_ledger_left_open(context: IndexerContext, gallery: Gallery) -> None:
    with context.database.write() as session:
        session.execute(update(LedgerRow).where(LedgerRow.uri == min(gallery.good)).values(state="leased"))
    assert any("as leased, not done" in what for what in outcome(context, gallery).wrong)
