"""Jobs over HTTP: on sources of every kind inside the roots, watched, cancelled and retried, with the time left."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek import ApiError, Client
from anyseek.api.service import Service
from anyseek.search.catalogue.jobs import JobState
from anyseek.workers import job_rate
from anyseek.workers.job_rate import JobProgress, ProgressMonitor
from tests.api.conftest import ended_job, picture, problem
from tests.indexer.pictures import encoded, noise, png


def test_an_index_job_runs_inside_the_roots_only(
    http: httpx.Client, collection: str, root: Path, tmp_path: Path
) -> None:
    folder = root / "photos"
    folder.mkdir()
    (folder / "red disc.png").write_bytes(picture("red", "disc"))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (root / "way out").symlink_to(tmp_path)
    path = f"/v1/collections/{collection}/jobs"
    for outside in (str(tmp_path), f"{root}/../", f"{root}/way out", "photos", "/", "\0"):
        problem(http.post(path, json={"folder": outside}), 403, "root-refused")
    problem(http.post(path, json={"folder": str(root / "gone")}), 404, "source-gone")
    problem(http.post("/v1/collections/none/jobs", json={"folder": str(folder)}), 404, "collection-not-found")
    started = http.post(path, json={"folder": str(folder)})
    assert started.status_code == 202, started.text
    job = ended_job(http, started.json()["id"])
    assert (job["state"], job["indexed"], job["quarantined"]) == ("done", 1, 1)
    assert job["id"] in [listed["id"] for listed in http.get("/v1/jobs").json()["jobs"]]
    (failure,) = http.get(f"/v1/jobs/{job['id']}/failures").json()["failures"]
    assert failure["key"] == "broken.png"
    assert failure["reason"]
    assert http.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "done"
    assert http.get(f"/v1/collections/{collection}/items/red disc.png").json()["key"] == "red disc.png"


def test_a_job_is_watched_to_its_end_and_retried(
    shared_service: tuple[str, Service], http: httpx.Client, collection: str, root: Path
) -> None:
    folder = root / "watched"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "broken.png").write_bytes(png(99)[:60])
    with Client(shared_service[0]) as client:
        job = client.index_folder(collection, str(folder))["id"]
        seen = list(client.watch(job))
        last = seen[-1]
        assert (last["job"]["state"], last["done"], last["quarantined"]) == ("done", 41, 1)
        assert last["seconds_left"] is None
        assert [event["done"] for event in seen] == sorted(event["done"] for event in seen)
        assert [event["job"]["state"] for event in client.watch(job)] == ["done"], "an ended job is told at once"
        (folder / "broken.png").write_bytes(png(99))
        assert client.retry_job(job)["reopened"] == 1
        *_, last = client.watch(job)
        assert (last["job"]["state"], last["job"]["indexed"], last["quarantined"]) == ("done", 41, 0)
        with pytest.raises(ApiError) as refused:
            list(client.watch(99999))
        assert refused.value.type == "urn:anyseek:job-not-found"
    stream = http.get(f"/v1/jobs/{job}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.startswith("event: end\ndata: {")
    problem(http.post(f"/v1/jobs/{cancelled_job(http, collection, root)}/retry"), 409, "job-not-retriable")


def cancelled_job(http: httpx.Client, collection: str, root: Path) -> int:
    """A job that was cancelled."""
    folder = root / "large"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number}.png").write_bytes(encoded(noise(number, 400, 300), "PNG", compress_level=0))
    job = int(http.post(f"/v1/collections/{collection}/jobs", json={"folder": str(folder)}).json()["id"])
    assert http.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    return job


def test_unknown_jobs_are_not_found(http: httpx.Client) -> None:
    for path in ("/v1/jobs/99999", "/v1/jobs/99999/failures", "/v1/jobs/99999/events"):
        problem(http.get(path), 404, "job-not-found")
    for verb in ("cancel", "retry"):
        problem(http.post(f"/v1/jobs/99999/{verb}"), 404, "job-not-found")
    problem(http.get("/v1/jobs/x"), 422, "invalid-request")


def test_a_table_goes_in_without_its_duplicates(http: httpx.Client, collection: str, root: Path) -> None:
    folder = root / "table"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture("red", "disc"))
    (folder / "t.csv").write_text("file,key,year\na.png,table-a,1987\nb.png,table-b,1988\n")
    body = {"source": str(folder / "t.csv"), "on_duplicate": "skip"}
    started = http.post(f"/v1/collections/{collection}/jobs", json=body)
    assert started.status_code == 202, started.text
    job = ended_job(http, started.json()["id"])
    left_out = http.get(f"/v1/jobs/{job['id']}/skipped").json()["failures"]
    assert (job["state"], job["indexed"] + job["skipped"], job["skipped"]) == ("done", 2, len(left_out))
    assert left_out[-1]["key"] == "table-b"
    assert left_out[-1]["code"] == "duplicate-content"


@pytest.mark.parametrize(
    "source", ["s3://elsewhere/p", "memory://x/../y", "http://169.254.169.254/", "file:///etc", "s3://a::file:///etc"]
)
def test_addresses_outside_the_remote_roots_are_refused(http: httpx.Client, collection: str, source: str) -> None:
    problem(http.post(f"/v1/collections/{collection}/jobs", json={"source": source}), 403, "root-refused")


def test_a_choice_or_a_source_that_is_none_is_refused(http: httpx.Client, collection: str, root: Path) -> None:
    for choice in ({"on_duplicate": "sometimes"}, {"predict_attributes": "perhaps"}):
        body = {"source": str(root), **choice}
        problem(http.post(f"/v1/collections/{collection}/jobs", json=body), 422, "invalid-request")
    (root / "notes.md").write_text("words")
    problem(http.post(f"/v1/collections/{collection}/jobs", json={"source": str(root / "notes.md")}), 422, "bad-source")


def test_a_job_and_its_source_predict_attributes_on_request(http: httpx.Client, collection: str, root: Path) -> None:
    folder = root / "told"
    folder.mkdir()
    (folder / "told.png").write_bytes(picture("red", "disc"))

    def indexed(**options: object) -> tuple[int, dict[str, Any]]:
        started = http.post(f"/v1/collections/{collection}/jobs", json={"source": str(folder), **options})
        assert started.status_code == 202, started.text
        job = ended_job(http, started.json()["id"])
        return job["indexed"], http.get(f"/v1/collections/{collection}/items/told.png").json()["attributes"]

    assert "predicted" not in indexed()[1]
    count, attributes = indexed(predict_attributes=True)
    assert count == 1
    assert "red" in attributes["predicted"]["colour_shares"]
    assert indexed() == (0, attributes)
    count, attributes = indexed(predict_attributes=False)
    assert (count, "predicted" in attributes) == (1, False)
    http.delete(f"/v1/collections/{collection}/items/told.png")


def test_a_running_job_has_the_seconds_that_were_seen_to_be_left(
    shared_service: tuple[str, Service],
    http: httpx.Client,
    collection: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (root / "timed").mkdir()
    with Client(shared_service[0]) as client:
        job = client.index_folder(collection, str(root / "timed"))["id"]
        *_, last = client.watch(job)
    assert last["job"]["seconds_left"] is None
    latest = ProgressMonitor.latest

    def seen(monitor: ProgressMonitor) -> JobProgress:
        really = latest(monitor)
        return replace(really, job=replace(really.job, state=JobState.RUNNING), seconds_left=40.0)

    monkeypatch.setattr(ProgressMonitor, "latest", seen)
    assert http.get(f"/v1/jobs/{job}").json()["seconds_left"] == 40.0


def test_a_cancelled_job_is_cancelled_at_once_though_it_was_counted_a_moment_ago(
    shared_service: tuple[str, Service],
    http: httpx.Client,
    collection: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (root / "cancelled").mkdir()
    with Client(shared_service[0]) as client:
        job = client.index_folder(collection, str(root / "cancelled"))["id"]
        list(client.watch(job))
    monkeypatch.setattr(job_rate, "MIN_WAIT", 600.0)
    monkeypatch.setattr(job_rate, "MAX_WAIT", 600.0)
    queue, states = shared_service[1].runtime.queue, [JobState.RUNNING]
    status = queue.status
    monkeypatch.setattr(queue, "status", lambda number: replace(status(number), state=states[-1]))
    monkeypatch.setattr(queue, "cancel", lambda number: states.append(JobState.CANCELLED))
    told = [http.get(f"/v1/jobs/{job}"), http.post(f"/v1/jobs/{job}/cancel"), http.get(f"/v1/jobs/{job}")]
    assert [answer.json()["state"] for answer in told] == ["running", "cancelled", "cancelled"]


def test_the_roots_and_the_folders_in_them_are_listed(http: httpx.Client, root: Path) -> None:
    for name in ("trip b", "trip a", ".hidden"):
        (root / "albums" / name).mkdir(parents=True, exist_ok=True)
    (root / "albums" / "a.png").write_bytes(b"")
    assert http.get("/v1/folders").json() == {"path": None, "folders": [str(root)]}
    inside = http.get("/v1/folders", params={"path": f"{root}/albums"}).json()
    assert inside["folders"] == [f"{root}/albums/trip a", f"{root}/albums/trip b"]


def test_what_is_outside_the_roots_is_not_listed(http: httpx.Client, root: Path, tmp_path: Path) -> None:
    for outside in ("/", str(tmp_path), f"{root}/..", "albums"):
        problem(http.get("/v1/folders", params={"path": outside}), 403, "root-refused")
    problem(http.get("/v1/folders", params={"path": f"{root}/missing"}), 422, "bad-input")
