"""Numbers and texts that no database takes are refused by a sentence, never by a crash; errors have our codes."""

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy.exc import DatabaseError

from anyseek.api.http.problems import problem_of

Problem = Callable[..., None]
WIDE = 1 << 63


@pytest.mark.parametrize("number", [WIDE, -WIDE - 1, 10**30])
@pytest.mark.parametrize(
    "path", ["jobs/{}", "jobs/{}/failures", "jobs/{}/events", "jobs?before={}", "jobs/1/failures?after={}"]
)
def test_numbers_of_more_than_64_bits(problem: Problem, http: httpx.Client, path: str, number: int) -> None:
    problem(http.get(f"/v1/{path.format(number)}"), 422, "invalid-request")


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_acting_on_a_job_that_no_number_names(problem: Problem, http: httpx.Client, action: str) -> None:
    problem(http.post(f"/v1/jobs/{WIDE}/{action}"), 422, "invalid-request")
    problem(http.post(f"/v1/jobs/{WIDE - 1}/{action}"), 404, "job-not-found")


def test_classes_that_are_nested_for_ever(problem: Problem, http: httpx.Client, collection: str) -> None:
    form = {"rgb": ("a.png", b"x"), "query": (None, "[" * 90_000)}
    answer = http.post(f"/v1/collections/{collection}/query", files=form)  # type: ignore[arg-type]
    problem(answer, 422, "json-too-deep")


class Failing(Exception):
    """An error of a database driver."""

    sqlite_errorcode = 0


def test_a_file_that_is_no_database_is_explained() -> None:
    cause = Failing("file is not a database")
    cause.sqlite_errorcode = 26
    assert problem_of(DatabaseError("SELECT 1", {}, cause), "id").status_code == 500
