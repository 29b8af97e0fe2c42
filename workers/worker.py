"""`anyseek worker`: a Celery worker whose processes each load the model after the fork.

The parent process dispatches messages to its children; it imports neither the model nor the catalogue, so that it
stays small and safe to fork. On SIGTERM, running tasks stop at their next step.
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
    waiting_messages,
)
from anyseek.workers.exporter import export_metrics
from anyseek.workers.readiness import Readiness

if TYPE_CHECKING:
    from anyseek.workers.tasks import Tasks

logger = logging.getLogger(__name__)

EXIT_MODEL_FAILED = 1
SERVICE = "anyseek-worker"  # the service name in traces
_READINESS_SECONDS = 0.5


@dataclass(frozen=True)
class Options:
    """A worker's name (unique in its data directory), the queues it consumes, and its number of processes."""

    name: str
    queues: Sequence[str]
    concurrency: int

    @property
    def embeds(self) -> bool:
        return EMBED in self.queues


@dataclass
class _Flags:
    """Flags in memory shared by a worker's processes, without locks, which a killed process could leave locked."""

    stopping: Any = field(default_factory=lambda: RawValue("b", 0))
    failed: Any = field(default_factory=lambda: RawValue("b", 0))


def run_worker(settings: Settings, options: Options) -> int:
    """Run a worker until it is stopped; return the exit code, 1 if the model could not be loaded.

    At the first SIGTERM tasks stop at their next step and the rest of them is requeued. Raises `BadDevice` and
    `CatalogueUnknown` before any child process is started.
    """
    _check_device(settings, options)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // options.concurrency)))
    _replace_celery_warnings()
    flags, app = _Flags(), make_app(settings)
    with Readiness(settings, options.name) as readiness, export_metrics(settings):
        open_database(settings).close()  # fails here, because a child could only log the error
        processes = _Processes(settings, options, flags, readiness)
        processes.register_tasks(app)
        signals.setup_logging.connect(_keep_log_settings, weak=False)
        signals.worker_process_init.connect(processes.start_process, weak=False)
        signals.worker_process_shutdown.connect(processes.end_process, weak=False)
        signals.worker_shutting_down.connect(processes.request_stop, weak=False)
        app.steps["worker"].add(_MonitoringStep)
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
    return EXIT_MODEL_FAILED if flags.failed.value else int(worker.exitcode or 0)


def _check_device(settings: Settings, options: Options) -> None:
    """Raise `BadDevice` for an unknown device, or for a GPU that an embedding worker cannot find.

    A separate process checks the GPU, because this one must not import torch.
    """
    model, own = split_device(settings.model)
    device = own or settings.device
    if options.embeds and model != WITHOUT_NETWORK and device.startswith(CARD):
        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            pool.submit(_check_gpu, device).result()


def _check_gpu(device: str) -> None:
    from anyseek.model.compute.placement import torch_device

    torch_device(device)


def _replace_celery_warnings() -> None:
    """Replace Celery's long warnings, on root and on a setting of `anyseek.workers.app`, by one line on root."""
    for category in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
    if os.geteuid() == 0:
        logger.warning("this worker and the code that decodes its inputs run as root; a user of its own is safer")


def _keep_log_settings(**_: object) -> None:
    """Keep Celery from configuring logging, and log only its warnings and errors.

    Celery would report itself ready before any model is loaded, and log two lines for every task.
    """
    for noisy in ("celery.apps.worker", "celery.worker.strategy", "celery.app.trace", "faiss.loader"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Processes:
    """Task functions and lifecycle hooks of the worker's child processes; created before they are forked."""

    def __init__(self, settings: Settings, options: Options, flags: _Flags, readiness: Readiness) -> None:
        self._settings = settings
        self._options = options
        self._flags = flags
        self._readiness = readiness
        self._tasks: Tasks | None = None
        self._process_lock: FileLock | None = None

    def register_tasks(self, app: Celery) -> None:
        """Register the tasks with the application; call this before its processes are forked."""

        def task(method: str) -> Callable[..., None]:
            def run(*arguments: Any) -> None:
                getattr(self._loaded_tasks, method)(*arguments)

            return run

        # Only embedding has a time limit: an input that hangs must not block its process forever.
        app.task(task("embed"), name=EMBED_TASK.name, time_limit=self._settings.work.task_seconds)
        app.task(task("scan"), name=SCAN_TASK.name)
        app.task(task("end"), name=END_TASK.name)
        app.task(task("end"), name=SWITCH_TASK.name)
        app.task(task("snapshot"), name=SNAPSHOT_TASK.name)
        app.task(task("resubmit"), name=RESUBMIT_TASK.name)

    def start_process(self, **_: object) -> None:
        """Initialise a child process after its fork, before it runs a task."""
        from anyseek.workers.metrics import mark_process_ready
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
        self._process_lock = Readiness.lock_process(self._settings, self._options.name)
        mark_process_ready()

    def _own_settings(self) -> Settings:
        """The settings of this process, which embeds on its own GPU if there are several."""
        model, own = split_device(self._settings.model)  # its device would override the one chosen here
        device = own or self._settings.device
        if self._options.embeds and device != CPU:
            from anyseek.model.compute.placement import device_of_process  # the parent must not import torch

            device = device_of_process(device, current_process().index)
        return replace(self._settings, model=model, device=device)

    def end_process(self, **_: object) -> None:
        """Flush traces before a child process ends, because exit handlers do not run there."""
        spans.set_tracer(None)

    def request_stop(self, **_: object) -> None:
        """Have running tasks stop at their next step; called in the parent process."""
        self._flags.stopping.value = 1

    @property
    def _loaded_tasks(self) -> "Tasks":
        if self._tasks is None:
            raise RuntimeError("a task ran before its process was initialised")
        return self._tasks


class _MonitoringStep(StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Celery step that announces readiness and periodically resubmits lost tasks."""

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
        if self._readiness.is_announced or self._readiness.ready_processes() < self._options.concurrency:
            return
        self._readiness.announce()
        fields = {"worker": self._options.name, "queues": list(self._options.queues)}
        logger.info("ready", extra={"fields": fields})

    def _send_resubmit(self) -> None:
        """Send a `resubmit` message, unless one is waiting or the broker is unreachable."""
        try:
            if not waiting_messages(self._app, MAINTENANCE):
                self._app.send_task(RESUBMIT_TASK.name, queue=name_at_broker(MAINTENANCE), retry=False)
        except OperationalError as error:
            logger.warning("the broker cannot be reached, so lost tasks are not resubmitted: %s", error)
