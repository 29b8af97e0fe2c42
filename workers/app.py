"""The Celery application: which task goes through which queue, and how messages survive failures.

A message only says which part of the ledger to look at, so a surplus, late or repeated message does no harm.
"""

from dataclasses import dataclass

from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import redis, virtual

from anyseek.search.settings import Settings

INGEST, EMBED, INDEX, MAINTENANCE = "ingest", "embed", "index", "maintenance"
QUEUES = (INGEST, EMBED, INDEX, MAINTENANCE)

# After the longest time of a task, an unacknowledged message goes to another worker.
_GRACE_SECONDS = 60


@dataclass(frozen=True)
class Task:
    """A kind of message: the name it travels under, and its queue."""

    name: str
    queue: str


SCAN_TASK = Task("anyseek.scan", INGEST)  # job: list its inputs in the ledger
EMBED_TASK = Task("anyseek.embed", EMBED)  # job, first, last: settle a range of its ledger
END_TASK = Task("anyseek.end", MAINTENANCE)  # job: prune and close it
SWITCH_TASK = Task("anyseek.switch", EMBED)  # job: close one that re-embeds, which takes its model
RESUBMIT_TASK = Task("anyseek.resubmit", MAINTENANCE)  # look for lost tasks
SNAPSHOT_TASK = Task("anyseek.snapshot", INDEX)  # collection: write snapshots, compact its log


def name_at_broker(queue: str) -> str:
    """Prefixed, since others may use the same broker."""
    return f"anyseek.{queue}"


def make_app(settings: Settings) -> Celery:
    """An application that sends and takes messages at the broker of `settings`; it connects when first used.

    Messages are JSON, stay at the broker until their task has ended (`acks_late`), return to it when the process that
    has them dies, and are handed out one at a time. There are no results: the catalogue has them.
    """
    app = Celery("anyseek", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_queues=[_queue(name_at_broker(queue)) for queue in QUEUES],
        task_default_queue=name_at_broker(MAINTENANCE),
        task_create_missing_queues=False,
        broker_connection_timeout=5,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_proc_alive_timeout=settings.work.task_seconds,  # a process counts as up once it has loaded its model
        worker_max_memory_per_child=settings.work.memory_mb * 1024 or None,
    )
    if settings.broker_url.startswith("redis"):
        release_lost_messages()
        app.conf.broker_transport_options = _redis_options(settings)
    return app


def waiting(app: Celery, queue: str) -> int:
    """The number of waiting messages of a queue. Raises kombu's `OperationalError` if the broker is away."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=app.conf.broker_connection_timeout)
        try:
            declared = connection.default_channel.queue_declare(queue=name_at_broker(queue), passive=True)
        except connection.channel_errors:  # it was never used, or is empty in Redis
            return 0
        return int(declared.message_count)


def _redis_options(settings: Settings) -> dict[str, object]:
    """Without the two about restoring, a message whose worker was killed did not come back within 40 seconds."""
    return {
        "visibility_timeout": settings.work.task_seconds + _GRACE_SECONDS,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
    }


def _queue(name: str) -> Queue:
    """A queue with a routing key of its own; Celery would bind all queues without one to the same key."""
    return Queue(name, Exchange("anyseek", type="direct"), routing_key=name, durable=True)


class ReleasingQoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Stops counting a message once its acknowledgement was tried; kombu's Redis transport may keep counting it.

    A worker holds no more messages than it has processes, and kombu (5.7) counts one as held until Redis has been told
    that it was acknowledged or rejected. If Redis is away at that moment, the call fails, Celery logs "Couldn't ack",
    and the message is counted for as long as the worker lives. With as many of them as processes it asks Redis for
    nothing more, and so never sees that its connection is gone either: it is up, silent, and idle. No setting helps:
    with retries the call fails a little later.

    A message that Redis still has goes to another worker after the visibility timeout, and then finds nothing to do.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


def release_lost_messages() -> None:
    """Make all connections of this process to Redis use `ReleasingQoS`.

    A transport of our own, which Celery can be given by name, would stand in for `redis` and `rediss` alike, and kombu
    turns encryption on by the latter's name.
    """
    redis.Channel.QoS = ReleasingQoS
