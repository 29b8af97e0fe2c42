"""kombu's Redis transport, but for one thing: messages that could not be given back to Redis leave room for others.

A worker holds no more messages than it has processes, and kombu (5.7) counts one as held until Redis has been told that
it was acknowledged or rejected. If Redis is away just then, the call fails, Celery logs "Couldn't ack" and goes on, and
the message is counted for as long as the worker lives. With as many of them as processes it asks Redis for nothing
more, and so never sees that its connection is gone either: it is up, silent, and idle. No setting helps: with retries
the call fails a little later.
"""

from kombu.transport import redis, virtual


class LettingGo(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Counts a message no longer once its acknowledgement was tried.

    One that Redis still has goes to another worker after the visibility timeout, and then finds nothing to do.
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


def let_go_of_lost_messages() -> None:
    """Have all connections of this process to a Redis do so.

    A transport of our own, which Celery can be given by name, would stand in for `redis` and `rediss` alike, and kombu
    turns encryption on by the latter's name.
    """
    redis.Channel.QoS = LettingGo
