"""Harm done to what workers need: the broker, the database, room on the disk."""

from tests.faults.trial import Trial, harm_until_done, working
from tests.services.servers import Server
from tests.workers.processes import submit

MAX = 3


def redis_is_killed(trial: Trial) -> int:
    """SIGKILL of Redis, which keeps nothing: the tasks are resubmitted from the ledger."""
    return _broker_is_killed(trial, trial.servers.redis)


def rabbitmq_is_killed(trial: Trial) -> int:
    """SIGKILL of RabbitMQ, which keeps messages on the disk."""
    return _broker_is_killed(trial, trial.servers.rabbit)


def postgres_is_restarted(trial: Trial) -> int:
    """PostgreSQL stopped in immediate mode, as by a power cut, and started again."""

    def restart() -> None:
        trial.servers.postgres.stop_immediately()
        trial.servers.postgres.start()

    with working(trial):
        return harm_until_done(trial, submit(trial.context, trial.gallery.folder), restart, 4.0, MAX)


def _broker_is_killed(trial: Trial, broker: Server) -> int:
    def restart() -> None:
        broker.kill()
        broker.start()

    with working(trial):
        return harm_until_done(trial, submit(trial.context, trial.gallery.folder), restart, 4.0, MAX)
