"""What fails, or is out of bounds for a database, is told in our own words and with our codes."""

import errno
import sqlite3
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from anyseek.api.cli import run
from anyseek.api.http.problems import problem_of
from tests.api.conftest import problem

WIDE = 1 << 63


@pytest.mark.parametrize("number", [WIDE, -WIDE - 1, 10**30])
@pytest.mark.parametrize(
    "path", ["jobs/{}", "jobs/{}/failures", "jobs/{}/events", "jobs?before={}", "jobs/1/failures?after={}"]
)
def test_numbers_of_more_than_64_bits(http: httpx.Client, path: str, number: int) -> None:
    problem(http.get(f"/v1/{path.format(number)}"), 422, "invalid-request")


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_acting_on_a_job_that_no_number_names(http: httpx.Client, action: str) -> None:
    problem(http.post(f"/v1/jobs/{WIDE}/{action}"), 422, "invalid-request")
    problem(http.post(f"/v1/jobs/{WIDE - 1}/{action}"), 404, "job-not-found")


def test_classes_that_are_nested_for_ever(http: httpx.Client, collection: str) -> None:
    form = {"rgb": ("a.png", b"x"), "query": (None, "[" * 90_000)}
    answer = http.post(f"/v1/collections/{collection}/query", files=form)
    problem(answer, 422, "json-too-deep")


def test_answers_have_codes_of_our_own() -> None:
    busy = problem_of(OperationalError("x", None, sqlite3.OperationalError("database is locked")), "r")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    assert b"urn:anyseek:database-busy" in busy.body
    assert problem_of(OSError(errno.ENOSPC, "No space left on device"), "r").status_code == 507
    assert b"sqlalche" not in problem_of(IntegrityError("INSERT", None, ValueError("x")), "r").body


def test_a_file_that_is_no_database_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(b"something else, " * 300)
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path))
    assert run(["verify"]) == 1
    assert capsys.readouterr().err == "anyseek: the database is damaged beyond reading; restore a backup\n"
