"""Tasks of workers go on with the trace of those who had them done, through the headers of their messages."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject

from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.search.telemetry import spans
from anyseek.workers.app import EMBED_TASK, SNAPSHOT_TASK
from anyseek.workers.celery_queue import CeleryQueue
from anyseek.workers.metrics import measure_task
from tests.traces import identity, traced


class Sent(Celery):  # type: ignore[misc]  # Celery has no types
    """An application whose messages are kept instead of sent."""

    def __init__(self) -> None:
        super().__init__("test", broker="memory://", set_as_current=False)
        self.messages: list[dict[str, Any]] = []

    def send_task(self, name: str, args: Any = None, **options: Any) -> None:
        self.messages.append({"name": name, "args": args, "headers": options["headers"]})


@pytest.fixture
def sending(tmp_path: Path) -> tuple[CeleryQueue, Sent]:
    settings = Settings(tmp_path, broker_url="redis://127.0.0.1:1/0")
    queue, app = CeleryQueue(Database(settings.database_url), settings), Sent()
    queue._app = app
    return queue, app


def test_a_message_carries_the_span_that_it_is_sent_in(sending: tuple[CeleryQueue, Sent]) -> None:
    queue, app = sending
    done: list[int] = []
    queue.send([(EMBED_TASK, (7, 1, 3))])
    assert app.messages.pop()["headers"] == {}, "where nothing is traced"

    @app.task(name=EMBED_TASK.name)
    @measure_task("embed")
    def embed(job: int, first: int, last: int) -> None:
        spans.set_attribute("anyseek.job", job)
        done.append(last - first)

    with traced() as kept:
        with spans.request_span("POST", []):
            queue.send([(EMBED_TASK, (7, 1, 3)), (SNAPSHOT_TASK, ("words",))])
        embed.apply(app.messages[0]["args"], headers=app.messages[0]["headers"])
        request, task = kept.one("POST"), kept.one("embed")
    assert done == [2]
    assert len(app.messages) == 2
    assert app.messages[0]["headers"].keys() == {"traceparent"}
    assert identity(task)[0] == identity(request)[0]
    assert task.parent is not None
    assert task.parent.span_id == identity(request)[1]
    assert task.attributes == {"anyseek.job": 7}


def test_a_task_that_is_sent_back_says_so() -> None:
    @measure_task("embed")
    def work() -> None:
        raise Reject("secret", requeue=True)

    with traced() as kept:
        with pytest.raises(Reject):
            work()
        task = kept.one("embed")
    assert task.attributes == {"error.type": "Reject"}
    assert "secret" not in task.to_json()
    assert task.parent is None
