"""Small tables of very many rows: they are refused before the ledger has grown with them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from anyseek.indexer.runs import IndexerContext
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.errors import LimitExceeded
from anyseek.search.settings import Limits
from tests.indexer.harness import index, installation, numbers
from tests.indexer.pictures import folder_of

_PAGE = 500


def _parquet(file: Path, names: Iterable[int], pictures: int) -> None:
    """Rows that name pictures by their numbers; equal rows take next to no room."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    files = arrow.DictionaryArray.from_arrays(np.fromiter(names, np.int8), [f"{n:04}.png" for n in range(pictures)])
    parquet.write_table(arrow.table({"file": files}), file)


def _csv(file: Path, rows: int) -> None:
    file.write_text("file\n" + "0000.png\n" * rows)


def _json_lines(file: Path, rows: int) -> None:
    file.write_text((json.dumps({"file": "0000.png"}) + "\n") * rows)


def _urls(file: Path, rows: int) -> None:
    file.write_text("http://127.0.0.1/0000.png\n" * rows)


_WRITERS: dict[str, Callable[[Path, int], None]] = {"a.csv": _csv, "a.jsonl": _json_lines, "a.txt": _urls}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = folder_of(tmp_path / "pictures", range(4))
    for number, picture in enumerate(sorted(pictures.glob("*"))):
        picture.rename(pictures / f"{number:04}.png")
    return pictures


def _listed(context: IndexerContext) -> int:
    with context.database.read() as session:
        return session.scalar(select(func.count()).select_from(LedgerRow)) or 0


def _newest_job(context: IndexerContext) -> Job:
    with context.database.read() as session:
        return jobs.list_page(session, None, 1)[0]


def test_a_small_file_of_more_rows_than_any_table_may_have_is_refused_unread(tmp_path: Path, folder: Path) -> None:
    rows = Limits().rows_per_table + 1
    _parquet(folder / "a.parquet", np.zeros(rows, np.int8), 1)
    assert (folder / "a.parquet").stat().st_size < 100_000
    with installation(tmp_path / "home") as context:
        with pytest.raises(LimitExceeded, match="split it, or raise ANYSEEK_LIMITS_ROWS_PER_TABLE"):
            index(context, folder / "a.parquet")
        assert _listed(context) == 0


@pytest.mark.parametrize("name", _WRITERS)
def test_a_text_of_too_many_rows_fails_its_job(tmp_path: Path, folder: Path, name: str) -> None:
    _WRITERS[name](folder / name, 2_001)
    with installation(tmp_path / "home", limits=Limits(rows_per_table=2_000)) as context:
        with pytest.raises(LimitExceeded):
            index(context, folder / name)
        job = _newest_job(context)
        assert (job.state, job.error) == (
            JobState.FAILED,
            f"{name} has more than the 2,000 rows that a table may have; split it, or raise "
            "ANYSEEK_LIMITS_ROWS_PER_TABLE",
        )
        assert _listed(context) <= 2_000


def test_rows_that_are_all_the_same_fail_their_job_before_they_fill_the_ledger(tmp_path: Path, folder: Path) -> None:
    _parquet(folder / "a.parquet", np.zeros(10 * _PAGE, np.int8), 1)
    with installation(tmp_path / "home", limits=Limits(refused_inputs=_PAGE)) as context:
        with pytest.raises(LimitExceeded):
            index(context, folder / "a.parquet")
        job = _newest_job(context)
        assert job.state is JobState.FAILED
        assert job.error == (
            f"999 of the first 1,000 inputs of {folder / 'a.parquet'} are refused; the job's failures say why. "
            "At most 500 may be; repair the source, or raise ANYSEEK_LIMITS_REFUSED_INPUTS"
        )
        assert _listed(context) == 2 * _PAGE


def test_a_few_rows_that_are_refused_fail_nothing(tmp_path: Path, folder: Path) -> None:
    _parquet(folder / "a.parquet", [0, 1, 2, 3, 3, 3], 4)
    with installation(tmp_path / "home", limits=Limits(rows_per_table=6, refused_inputs=1)) as context:
        assert numbers(index(context, folder / "a.parquet"))[:3] == (4, 0, 2)
