"""A database or a disk that fails is told in our own words."""

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from anyseek.api.cli import run
from anyseek.api.http.problems import problem_of


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
