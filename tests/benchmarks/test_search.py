"""The search benchmark writes and searches the vectors that it reports on."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from anyseek.search.catalogue import items
from anyseek.search.catalogue.tables import CollectionRow, FacetRow, ItemRow, LogRow
from anyseek.search.spaces.local import space as space_index
from anyseek.search.spaces.pgvector import backend
from benchmarks.search import __main__ as searching
from benchmarks.search import pgvector
from benchmarks.search.__main__ import as_tables
from benchmarks.search.gallery import PIECE, Gallery, Write, fill_collection, open_catalogue, write_rows
from benchmarks.search.measures import exact_neighbours
from tests.contracts.vector_indexes import NEEDS_PGVECTOR, pgvector_url

SMALL = Gallery(300, 16)


def rows(home: Path, write: Write) -> list[Any]:
    """The rows of all tables without their times."""
    _, database = open_catalogue(home, "auto")
    fill_collection(database, SMALL, write)
    tables = []
    with database.read() as session:
        for table in (CollectionRow, ItemRow, FacetRow, LogRow):
            columns = [column for column in table.__table__.columns if not column.name.endswith("_at")]
            tables.append(session.connection().execute(select(*columns).order_by(*columns[:2])).all())
    database.close()
    return tables


def test_both_ways_of_writing_make_the_same_catalogue(tmp_path: Path) -> None:
    product, bulk = rows(tmp_path / "product", items.write), rows(tmp_path / "bulk", write_rows)
    assert [len(table) for table in product] == [1, 300, 300, 300]
    assert product == bulk


def test_a_gallery_is_the_same_each_time_and_queries_are_not_in_it() -> None:
    gallery = Gallery(PIECE + 5, 4)
    first, second = gallery.vectors()
    np.testing.assert_array_equal(np.concatenate(list(gallery.vectors(PIECE))), second)
    assert (len(first), len(second)) == (PIECE, 5)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    queries = gallery.queries(3)
    np.testing.assert_array_equal(queries, gallery.queries(3))
    assert (first @ queries.T).max() < 1 - 1e-6
    assert not (gallery.later(3) == queries).any()


def test_exact_neighbours_are_the_nearest_allowed_vectors() -> None:
    vectors, queries = np.concatenate(list(SMALL.vectors())), SMALL.queries(4)
    found = exact_neighbours(SMALL, queries, [1_000, 100])
    order = np.argsort(-(queries @ vectors.T), axis=1)
    np.testing.assert_array_equal(found[1_000], order[:, :10])
    allowed = [[number for number in row if number * 7_919 % 1_000 < 100][:10] for row in order.tolist()]
    np.testing.assert_array_equal(found[100], allowed)


@pytest.mark.slow
def test_a_repeated_run_reuses_the_collection(tmp_path: Path) -> None:
    arguments = argparse.Namespace(
        vectors=1_500, dimension=16, kind="ivf", bulk=False, queries=5, seconds=0.3, clients=[1, 2]
    )
    due = space_index.SNAPSHOT_SHARE
    first, second = (searching._measure(tmp_path, arguments) for _ in range(2))
    assert due == space_index.SNAPSHOT_SHARE  # the measurement restores it
    assert first["made"] == second["made"]
    for report in (first, second):
        assert report["index"] == "ivf"
        assert report["searches"]["none"]["engine"]["recall"] > 0.9
        assert report["searches"]["10%"]["engine"]["recall"] > 0.9
        assert [row["clients"] for row in report["http"]] == [1, 2]
        assert list(report["inserting"]) == ["idle", "inserting", "inserting, snapshot"]
        assert as_tables(report).count("|\n|---") >= 4


@NEEDS_PGVECTOR
def test_pgvector_finds_everything_behind_filters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--vectors", "1000", "--dimension", "16", "--queries", "5", "--exact-up-to", "200", "--json"]
    monkeypatch.setattr("sys.argv", ["pgvector", "--url", pgvector_url(), *options])
    monkeypatch.setattr(backend, "EXACT_UP_TO", backend.EXACT_UP_TO)  # restored afterwards
    pgvector.main()
    report = json.loads(capsys.readouterr().out)
    assert report["bytes"].keys() == {"tables", "graphs"}
    assert [row["recall"] for row in report["searches"].values()] == [1, 1, 1, 1]
