"""Running one fault with one seed, and the row that it gives."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyseek.search.settings import Settings
from tests.faults import disk, doubling, kills, outages, points, service
from tests.faults.comparison import Outcome, compare
from tests.faults.gallery import make_gallery, with_deadly
from tests.faults.servers import Servers, purge
from tests.faults.trial import WORK, Trial
from tests.indexer.harness import NAME, installation
from tests.workers.processes import wait_for

REDIS, RABBIT, ALONE = "redis", "rabbitmq", "alone"


@dataclass(frozen=True)
class Fault:
    """`harm` does all of a job with the harm, and returns how often harm was done.

    `on` is the broker, or `ALONE` for a job without workers on SQLite. `names` are the collections it fills, all from
    the same folder; `deadly` puts in an input that kills its worker; `small_disk` has the data directory on one.
    """

    harm: Callable[[Trial], int]
    on: str = REDIS
    names: Sequence[str] = (NAME,)
    deadly: bool = False
    small_disk: bool = False


FAULTS = {
    "1 workers are killed": Fault(kills.workers_are_killed, deadly=True),
    "2 the service is killed": Fault(service.service_is_killed),
    "3 Redis is killed": Fault(outages.redis_is_killed),
    "3 RabbitMQ is killed": Fault(outages.rabbitmq_is_killed, on=RABBIT),
    "4 PostgreSQL is restarted": Fault(outages.postgres_is_restarted),
    "5 the disk is full": Fault(disk.disk_is_full, small_disk=True),
    "6 killed between two steps": Fault(points.killed_at_each_point, on=ALONE),
    "7 two jobs at once": Fault(doubling.two_jobs_at_once, names=(NAME, doubling.OTHER)),
    "8 every task is delivered twice": Fault(doubling.every_task_twice),
    "9 workers hang": Fault(kills.workers_hang),
}


@dataclass(frozen=True)
class Row:
    """What came of one fault with one seed, `asked` to put in so many inputs.

    `inputs` has what was put in besides, and is summed over collections, as all counts are; `wrong` should be empty.
    """

    fault: str
    seed: int
    asked: int
    inputs: int
    bad: int
    injected: int
    lost: int
    doubled: int
    quarantined: int
    wrong: tuple[str, ...]
    seconds: float

    @property
    def is_well(self) -> bool:
        return self.injected > 0 and not (self.lost or self.doubled or self.wrong) and self.quarantined == self.bad


def run(name: str, seed: int, inputs: int, folder: Path, servers: Servers) -> Row:
    """Run a fault in an empty folder. Raises `disk.NoSmallDisk` where this machine cannot do it."""
    fault, started = FAULTS[name], time.monotonic()
    gallery = make_gallery(folder / "photos", inputs, seed)
    gallery = with_deadly(gallery) if fault.deadly else gallery
    with _prepared(fault, folder, servers) as settings, installation(settings.home, settings=settings) as context:
        trial = Trial(context, gallery, random.Random(seed), servers, folder)
        injected = fault.harm(trial)
        for one in fault.names:
            wait_for(lambda one=one: context.engine.write_snapshots(one), "a snapshot")  # type: ignore[misc]
        outcomes = [compare(context.database, settings, gallery, one) for one in fault.names]
    return _row(name, seed, inputs, trial, injected, outcomes, time.monotonic() - started)


@contextmanager
def _prepared(fault: Fault, folder: Path, servers: Servers) -> Iterator[Settings]:
    """An empty installation with what the fault is to harm."""
    home, photos = folder / "home", folder / "photos"
    with ExitStack() as stack:
        if fault.small_disk:
            stack.enter_context(disk.small_disk(home))
        if fault.on == ALONE:
            yield Settings(home, model="hashing", work=WORK)
            return
        broker = servers.redis if fault.on == REDIS else servers.rabbit
        database = stack.enter_context(servers.database("trial"))
        settings = Settings(
            home, database_url=database, broker_url=broker.url, model="hashing", roots=(photos,), work=WORK
        )
        purge(settings)
        yield settings


def _row(
    name: str, seed: int, asked: int, trial: Trial, injected: int, outcomes: Sequence[Outcome], seconds: float
) -> Row:
    wrong = [*trial.wrong, *(what for outcome in outcomes for what in outcome.wrong)]
    return Row(
        fault=name,
        seed=seed,
        asked=asked,
        inputs=trial.gallery.inputs * len(outcomes),
        bad=len(trial.gallery.bad) * len(outcomes),
        injected=injected,
        lost=sum(outcome.lost for outcome in outcomes),
        doubled=sum(outcome.doubled for outcome in outcomes),
        quarantined=sum(outcome.quarantined for outcome in outcomes),
        wrong=tuple(wrong[:20]),
        seconds=round(seconds, 1),
    )
