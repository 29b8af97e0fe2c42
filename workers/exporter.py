"""Prometheus exporter of a worker's metrics.

A worker has many processes, and the first must stay safe to fork. So each writes its metrics to files in a folder (the
multiprocess mode of `prometheus_client`), and an exporter process, `python -m anyseek.workers.exporter`, aggregates
them on each scrape. It reads its standard input until that is closed, so even if the worker is killed, it ends and
removes the folder.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Settings

# The folder of metric files; `prometheus_client` reads this variable when it is imported.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_CLIENT_SECONDS = 10


class CannotExport(AnyseekError):
    code = "cannot-export-metrics"


@contextmanager
def export_metrics(settings: Settings) -> Iterator[None]:
    """Serve metrics of this process and its forks, if the settings name a port. Raises `CannotExport`."""
    work = settings.work
    if not work.metrics_port:
        yield
        return
    with _listen(work.metrics_host, work.metrics_port) as listener:
        folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="anyseek-metrics-")
        command = [sys.executable, "-m", "anyseek.workers.exporter", str(listener.fileno()), folder]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    try:
        yield
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise CannotExport(
            f"metrics cannot be served on {host} port {port}: {reason}; choose another "
            "ANYSEEK_WORK_METRICS_PORT for each worker on a machine"
        ) from error


def serve(listener: socket.socket, folder: Path) -> None:
    """Answer scrapes until standard input is closed."""
    from prometheus_client import CollectorRegistry, Metric, MetricsHandler
    from prometheus_client.multiprocess import MultiProcessCollector

    class LiveCollector(MultiProcessCollector):
        def collect(self) -> Iterable[Metric]:
            remove_dead_gauges(folder)
            metrics: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
            return metrics

    class Handler(MetricsHandler):
        timeout = _CLIENT_SECONDS
        registry = CollectorRegistry()

    LiveCollector(Handler.registry, str(folder))  # type: ignore[no-untyped-call]
    server = ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket = listener
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    server.shutdown()


def remove_dead_gauges(folder: Path) -> None:
    """Remove the gauges of processes that have ended; their counters are kept."""
    from prometheus_client.multiprocess import mark_process_dead

    for path in folder.glob("gauge_live*.db"):
        process = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{process}").exists():
            mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]


def main(descriptor: int, folder: Path) -> None:
    """Run the exporter; it ignores signals and ends after the worker, so that the last metrics can be scraped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        with socket.socket(fileno=descriptor) as listener:
            serve(listener, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
