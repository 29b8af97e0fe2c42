"""A Redis of the test's own that is away while a worker gives its messages back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection
from kombu.message import Message
from kombu.transport.redis import Transport

from anyseek.search.settings import Settings
from anyseek.workers.app import EMBED, EMBED_TASK, make_app, name_at_broker
from tests.services.servers import Redis

REDIS = "ANYSEEK_TEST_REDIS"
pytestmark = pytest.mark.skipif(REDIS not in os.environ, reason=f"{REDIS} is not set: no real servers")
PROCESSES = 2


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def app(tmp_path: Path, redis: Redis) -> Iterator[Celery]:
    app = make_app(Settings(tmp_path / "home", broker_url=redis.url))
    yield app
    app.close()


def send(app: Celery, tasks: int) -> None:
    for number in range(tasks):
        app.send_task(EMBED_TASK.name, (1, number, number), queue=name_at_broker(EMBED))


def take(connection: Connection, messages: list[Message], wanted: int) -> None:
    while len(messages) < wanted:
        connection.drain_events(timeout=10)


@pytest.mark.parametrize("give_back", ["ack", "reject", "requeue"])
def test_messages_that_redis_does_not_take_back_leave_room(app: Celery, redis: Redis, give_back: str) -> None:
    """kombu alone holds them for ever, and a worker that holds as many as it has processes takes no more."""
    held: list[Message] = []
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        channel.basic_qos(prefetch_count=PROCESSES)
        queue = next(one for one in app.conf.task_queues if one.name == name_at_broker(EMBED))
        with connection.Consumer([queue], channel=channel, on_message=held.append):
            send(app, PROCESSES)
            take(connection, held, PROCESSES)
            assert not channel.qos.can_consume()
            redis.kill()
            for message in held:
                with pytest.raises(Transport.connection_errors):
                    getattr(message, give_back)()
            assert channel.qos.can_consume()
            redis.start()
            with pytest.raises(Transport.connection_errors):
                take(connection, held, PROCESSES + 1)  # the connection of before is found to be dead
            send(app, 1)
            take(connection, held, PROCESSES + 1)
