"""The Celery application: tasks, their queues, and delivery settings that survive failures.

A message only names a part of the ledger, so a duplicate or late message does no harm.
"""

from dataclasses import dataclass

from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import redis, virtual

from anyseek.search.settings import Settings

INGEST, EMBED, INDEX, MAINTENANCE = "ingest", "embed", "index", "maintenance"
QUEUES = (INGEST, EMBED, INDEX, MAINTENANCE)

# An unacknowledged message is redelivered this long after the task time limit.
_GRACE_SECONDS = 60


@dataclass(frozen=True)
class Task:
    """A Celery task: its registered name and its queue."""

    name: str
    queue: str


SCAN_TASK = Task("anyseek.scan", INGEST)  # job: list its inputs in the ledger
EMBED_TASK = Task("anyseek.embed", EMBED)  # job, first, last: embed and write a range of its ledger
END_TASK = Task("anyseek.end", MAINTENANCE)  # job: prune the collection and close the job
SWITCH_TASK = Task("anyseek.switch", EMBED)  # job: switch models and close a re-embedding job; loads its model
RESUBMIT_TASK = Task("anyseek.resubmit", MAINTENANCE)  # resubmit lost tasks
SNAPSHOT_TASK = Task("anyseek.snapshot", INDEX)  # collection: write index snapshots, compact its log


def name_at_broker(queue: str) -> str:
    """The queue's name at the broker, prefixed because other applications may share the broker."""
    return f"anyseek.{queue}"


def make_app(settings: Settings) -> Celery:
    """The Celery application for the broker in `settings`; it connects when first used.

    Messages are JSON, are acknowledged after their task has ended (`acks_late`), are requeued when their process dies,
    and are prefetched one at a time. There is no result backend: results are in the catalogue.
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


def waiting_messages(app: Celery, queue: str) -> int:
    """The number of messages waiting in a queue. Raises kombu's `OperationalError` if the broker is unreachable."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=app.conf.broker_connection_timeout)
        try:
            declared = connection.default_channel.queue_declare(queue=name_at_broker(queue), passive=True)
        except connection.channel_errors:  # the queue was never used, or is empty in Redis
            return 0
        return int(declared.message_count)


def _redis_options(settings: Settings) -> dict[str, object]:
    """Transport options; without the two for restoring, a killed worker's message took over 40 seconds to return."""
    return {
        "visibility_timeout": settings.work.task_seconds + _GRACE_SECONDS,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
    }


def _queue(name: str) -> Queue:
    """A queue with its own routing key; without one, Celery would bind all queues to the same key."""
    return Queue(name, Exchange("anyseek", type="direct"), routing_key=name, durable=True)


class ReleasingQoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Redis QoS that stops counting a message as unacknowledged even if its acknowledgement fails.

    A worker prefetches no more messages than it has processes, and kombu (5.7) counts a message until Redis confirms
    its acknowledgement or rejection. If Redis is unreachable at that moment, the call fails, Celery logs "Couldn't
    ack", and the message stays counted until the worker ends. Once there are as many such messages as processes, the
    worker fetches nothing more and never notices its lost connection: it is up but idle. Retries only delay this.

    Redis redelivers such a message after the visibility timeout; its task then finds nothing to do.
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
    """Make all Redis connections of this process use `ReleasingQoS`.

    A custom transport is no alternative: it would replace both `redis` and `rediss`, and kombu enables encryption by
    the name `rediss`.
    """
    redis.Channel.QoS = ReleasingQoS
