from collections.abc import Callable

import httpx
import pytest


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    """Check that an answer is a refusal of this status and type, whole in all its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:anyseek:{code}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]


@pytest.fixture
def problem() -> Callable[..., None]:
    return check_problem
