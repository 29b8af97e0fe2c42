"""`anyseek worker`: a Celery worker whose processes load the model once each, after they were forked.

The first process takes messages and hands them to the others; it imports neither the model nor the catalogue, so that
it stays small and is safe to fork. It ends its processes' tasks at their next step when it is told to stop.
"""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import RawValue, get_context
from typing import TYPE_CHECKING, Any

from billiard.process import current_process  # type: ignore[import-untyped]
from celery import Celery, signals
from celery.bootsteps import StartStopStep
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from kombu.exceptions import OperationalError

from anyseek.model.compute.devices import CARD, CPU, WITHOUT_NETWORK, split_device
from anyseek.model.compute.threads import processors
from anyseek.model.files import FileLock
from anyseek.search.catalogue.upgrade import open_database
from anyseek.search.settings import Settings
from anyseek.search.telemetry import spans
from anyseek.workers.app import (
    EMBED,
    EMBED_TASK,
    END_TASK,
    MAINTENANCE,
    RESUBMIT_TASK,
    SCAN_TASK,
    SNAPSHOT_TASK,
    SWITCH_TASK,
    make_app,
    name_at_broker,
    waiting,
)
from anyseek.workers.exporter import exporting
from anyseek.workers.readiness import Readiness

if TYPE_CHECKING:
    from anyseek.workers.tasks import Tasks

logger = logging.getLogger(__name__)

CANNOT_WORK = 1
SERVICE = "anyseek-worker"  # in traces
_READINESS_SECONDS = 0.5


@dataclass(frozen=True)
class Options:
    """What one worker does: its name (one a machine), the queues it takes from, and how many processes it has."""

    name: str
    queues: Sequence[str]
    concurrency: int

    @property
    def embeds(self) -> bool:
        return EMBED in self.queues


@dataclass
class _Flags:
    """Seen by all processes of a worker: plain memory without a lock, which a killed process could leave locked."""

    stopping: Any = field(default_factory=lambda: RawValue("b", 0))
    failed: Any = field(default_factory=lambda: RawValue("b", 0))


def run_worker(settings: Settings, options: Options) -> int:
    """Work until told to stop, and return the exit code: 1 if the model could not be loaded.

    The first SIGTERM has tasks end at their next step; what is left of them goes back to the queue. Raises `BadDevice`
    and `CatalogueUnknown` before any process of work is started.
    """
    _check_device(settings, options)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // options.concurrency)))
    _replace_celery_warnings()
    flags, app = _Flags(), make_app(settings)
    with Readiness(settings, options.name) as readiness, exporting(settings):
        open_database(settings).close()  # the processes could only log that they cannot use it
        processes = _Processes(settings, options, flags, readiness)
        processes.register_tasks(app)
        signals.setup_logging.connect(_keep_log_settings, weak=False)
        signals.worker_process_init.connect(processes.begin, weak=False)
        signals.worker_process_shutdown.connect(processes.end, weak=False)
        signals.worker_shutting_down.connect(processes.tell_to_stop, weak=False)
        app.steps["worker"].add(_Watch)
        worker = app.Worker(
            hostname=f"anyseek@{options.name}",
            queues=[name_at_broker(queue) for queue in options.queues],
            concurrency=options.concurrency,
            pool="prefork",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            anyseek=(app, settings, options, readiness),
        )
        worker.start()
    return CANNOT_WORK if flags.failed.value else int(worker.exitcode or 0)


def _check_device(settings: Settings, options: Options) -> None:
    """Raises `BadDevice` for a device that is not offered, and for a card that an embedding worker would not find.

    torch looks for the card in a process apart, because this one must not import it.
    """
    model, own = split_device(settings.model)
    device = own or settings.device
    if options.embeds and model != WITHOUT_NETWORK and device.startswith(CARD):
        with ProcessPoolExecutor(1, get_context("fork")) as apart:
            apart.submit(_find_card, device).result()


def _find_card(device: str) -> None:
    from anyseek.model.compute.placement import torch_device

    torch_device(device)


def _replace_celery_warnings() -> None:
    """Warn of running as root in one line; Celery has paragraphs on that, and on a setting of `anyseek.workers.app`."""
    for paragraph in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=paragraph)
    if os.geteuid() == 0:
        logger.warning("this worker and the code that decodes its inputs run as root; a user of its own is safer")


def _keep_log_settings(**_: object) -> None:
    """Keep Celery from setting up its own logs; of its messages only problems are kept.

    Celery would report itself ready before any model is loaded, and log two lines for every task.
    """
    for noisy in ("celery.apps.worker", "celery.worker.strategy", "celery.app.trace", "faiss.loader"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Processes:
    """The processes that do the tasks; the object is made before they are forked."""

    def __init__(self, settings: Settings, options: Options, flags: _Flags, readiness: Readiness) -> None:
        self._settings = settings
        self._options = options
        self._flags = flags
        self._readiness = readiness
        self._tasks: Tasks | None = None
        self._living: FileLock | None = None

    def register_tasks(self, app: Celery) -> None:
        """Make the tasks known to an application before its processes are forked."""

        def task(work: str) -> Callable[..., None]:
            def run(*arguments: Any) -> None:
                getattr(self._here, work)(*arguments)

            return run

        # Only embedding has a hard end: an input that hangs must not hold its worker for ever.
        app.task(task("embed"), name=EMBED_TASK.name, time_limit=self._settings.work.task_seconds)
        app.task(task("scan"), name=SCAN_TASK.name)
        app.task(task("end"), name=END_TASK.name)
        app.task(task("end"), name=SWITCH_TASK.name)
        app.task(task("snapshot"), name=SNAPSHOT_TASK.name)
        app.task(task("resubmit"), name=RESUBMIT_TASK.name)

    def begin(self, **_: object) -> None:
        """Run in each process after its fork, before it takes a task."""
        from anyseek.workers.metrics import counted_as_ready
        from anyseek.workers.tasks import Tasks

        self._readiness.release_in_child()
        spans.start_tracing(self._settings, SERVICE)
        self._tasks = Tasks(self._own_settings(), lambda: bool(self._flags.stopping.value))
        try:
            if self._options.embeds:
                self._tasks.load_model()
        except Exception:
            logger.exception("the model %s cannot be loaded; this worker ends", self._settings.model)
            self._flags.failed.value = 1
            os.kill(os.getppid(), signal.SIGTERM)
            raise
        self._living = Readiness.of_process(self._settings, self._options.name)
        counted_as_ready()

    def _own_settings(self) -> Settings:
        """The settings, for a process that embeds with a card of its own where there are several."""
        model, own = split_device(self._settings.model)  # whose device would replace the one that is chosen here
        device = own or self._settings.device
        if self._options.embeds and device != CPU:
            from anyseek.model.compute.placement import device_of_process  # the first process must not import torch

            device = device_of_process(device, current_process().index)
        return replace(self._settings, model=model, device=device)

    def end(self, **_: object) -> None:
        """Run in each process before it ends, which its interpreter does not notice."""
        spans.set_tracer(None)

    def tell_to_stop(self, **_: object) -> None:
        """Run in the first process."""
        self._flags.stopping.value = 1

    @property
    def _here(self) -> "Tasks":
        if self._tasks is None:
            raise RuntimeError("a task ran before its process was ready")
        return self._tasks


class _Watch(StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Announces when the worker is ready, and regularly has lost tasks looked for."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def __init__(self, parent: Any, anyseek: tuple[Celery, Settings, Options, Readiness], **options: Any) -> None:
        super().__init__(parent, **options)
        self._app, self._settings, self._options, self._readiness = anyseek
        self._entries: list[Any] = []

    def start(self, parent: Any) -> None:
        repeat = parent.timer.call_repeatedly
        self._entries = [repeat(_READINESS_SECONDS, self._announce_when_ready)]
        if MAINTENANCE in self._options.queues:
            self._entries.append(repeat(self._settings.work.resubmit_seconds, self._send_resubmit))

    def stop(self, parent: Any) -> None:
        for entry in self._entries:
            entry.cancel()

    def _announce_when_ready(self) -> None:
        if self._readiness.is_announced or self._readiness.processes() < self._options.concurrency:
            return
        self._readiness.announce()
        fields = {"worker": self._options.name, "queues": list(self._options.queues)}
        logger.info("ready", extra={"fields": fields})

    def _send_resubmit(self) -> None:
        """Send a `resubmit` message, unless one is waiting or the broker is unreachable."""
        try:
            if not waiting(self._app, MAINTENANCE):
                self._app.send_task(RESUBMIT_TASK.name, queue=name_at_broker(MAINTENANCE), retry=False)
        except OperationalError as error:
            logger.warning("the broker cannot be reached, so lost tasks are not looked for: %s", error)
