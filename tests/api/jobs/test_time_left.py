"""What the service tells about how long a job will still take."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from anyseek import Client
from api.service import Service
from search.catalogue.jobs import JobState
from workers.pace import Observer, Seen


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
    see = Observer.see

    def seen(observer: Observer) -> Seen:
        return Seen(replace(see(observer).job, state=JobState.RUNNING), 2.0, 40.0)

    monkeypatch.setattr(Observer, "see", seen)
    assert http.get(f"/v1/jobs/{job}").json()["seconds_left"] == 40.0
