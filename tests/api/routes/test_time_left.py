"""What the service tells about how long a job will still take."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from anyseek import Client
from anyseek.api.service import Service
from anyseek.search.catalogue.jobs import JobState
from anyseek.workers import pace
from anyseek.workers.pace import Observer, Seen


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
    latest = Observer.latest

    def seen(observer: Observer) -> Seen:
        really = latest(observer)
        return replace(really, job=replace(really.job, state=JobState.RUNNING), seconds_left=40.0)

    monkeypatch.setattr(Observer, "latest", seen)
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
    monkeypatch.setattr(pace, "SHORTEST_WAIT", 600.0)
    monkeypatch.setattr(pace, "LONGEST_WAIT", 600.0)
    queue, states = shared_service[1].runtime.queue, [JobState.RUNNING]
    status = queue.status
    monkeypatch.setattr(queue, "status", lambda number: replace(status(number), state=states[-1]))
    monkeypatch.setattr(queue, "cancel", lambda number: states.append(JobState.CANCELLED))
    told = [http.get(f"/v1/jobs/{job}"), http.post(f"/v1/jobs/{job}/cancel"), http.get(f"/v1/jobs/{job}")]
    assert [answer.json()["state"] for answer in told] == ["running", "cancelled", "cancelled"]
