"""Jobs over HTTP on sources of every kind, what becomes of duplicates, and what may not be read."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Picture = Callable[[str, str], bytes]
Problem = Callable[..., None]


def ended(http: httpx.Client, job: int) -> dict[str, Any]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        told: dict[str, Any] = http.get(f"/v1/jobs/{job}").json()
        if told["state"] not in ("scanning", "running"):
            return told
        time.sleep(0.05)
    raise AssertionError(f"job {job} has not ended")


def test_a_table_goes_in_without_its_duplicates(
    http: httpx.Client, collection: str, picture: Picture, root: Path
) -> None:
    folder = root / "table"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture("red", "disc"))
    (folder / "t.csv").write_text("file,key,year\na.png,table-a,1987\nb.png,table-b,1988\n")
    body = {"source": str(folder / "t.csv"), "on_duplicate": "skip"}
    started = http.post(f"/v1/collections/{collection}/jobs", json=body)
    assert started.status_code == 202, started.text
    job = ended(http, started.json()["id"])
    left_out = http.get(f"/v1/jobs/{job['id']}/skipped").json()["failures"]
    assert (job["state"], job["indexed"] + job["skipped"], job["skipped"]) == ("done", 2, len(left_out))
    assert left_out[-1]["key"] == "table-b"
    assert left_out[-1]["code"] == "duplicate-content"


@pytest.mark.parametrize(
    "source", ["s3://elsewhere/p", "memory://x/../y", "http://169.254.169.254/", "file:///etc", "s3://a::file:///etc"]
)
def test_addresses_outside_the_remote_roots_are_refused(
    problem: Problem, http: httpx.Client, collection: str, source: str
) -> None:
    problem(http.post(f"/v1/collections/{collection}/jobs", json={"source": source}), 403, "root-refused")


def test_a_job_says_which_duplicates(problem: Problem, http: httpx.Client, collection: str, root: Path) -> None:
    body = {"source": str(root), "on_duplicate": "sometimes"}
    problem(http.post(f"/v1/collections/{collection}/jobs", json=body), 422, "invalid-request")
    (root / "notes.md").write_text("words")
    problem(http.post(f"/v1/collections/{collection}/jobs", json={"source": str(root / "notes.md")}), 422, "bad-source")


def test_a_job_and_its_source_predict_attributes_on_request(
    http: httpx.Client, collection: str, picture: Picture, root: Path
) -> None:
    folder = root / "told"
    folder.mkdir()
    (folder / "told.png").write_bytes(picture("red", "disc"))

    def indexed(**options: object) -> tuple[int, dict[str, Any]]:
        started = http.post(f"/v1/collections/{collection}/jobs", json={"source": str(folder), **options})
        assert started.status_code == 202, started.text
        job = ended(http, started.json()["id"])
        return job["indexed"], http.get(f"/v1/collections/{collection}/items/told.png").json()["attributes"]

    assert "predicted" not in indexed()[1]
    count, attributes = indexed(predict_attributes=True)
    assert count == 1
    assert "red" in attributes["predicted"]["colour_shares"]
    assert indexed() == (0, attributes)
    count, attributes = indexed(predict_attributes=False)
    assert (count, "predicted" in attributes) == (1, False)
    http.delete(f"/v1/collections/{collection}/items/told.png")


def test_a_choice_that_is_none_is_refused(http: httpx.Client, collection: str, problem: Problem, root: Path) -> None:
    body = {"source": str(root), "predict_attributes": "perhaps"}
    problem(http.post(f"/v1/collections/{collection}/jobs", json=body), 422, "invalid-request")
