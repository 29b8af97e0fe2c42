"""A worker's metrics: added up over its processes, on a port of their own, gone with the worker."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from anyseek.indexer.runs import IndexerContext
from anyseek.search.settings import Settings, Work
from anyseek.workers.exporter import FOLDER, CannotExport, export_metrics
from tests.contracts.catalogue import empty
from tests.indexer.harness import installation
from tests.indexer.pictures import folder_of
from tests.services.servers import free_port
from tests.workers.processes import POSTGRES, WorkerProcess, look, settings_of, submit, wait_for, working
from tests.workers.test_worker import RABBIT

# A process that counts, as a worker's do, and then waits for its input to be closed.
COUNTING = """
import sys
from anyseek.workers.metrics import mark_process_ready, measure_task
mark_process_ready()
@measure_task("embed")
def embed(): pass
embed()
print("counted", flush=True)
sys.stdin.read()
"""


def scraped(port: int) -> dict[str, float]:
    """Samples by name and labels, as they are written."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20)
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {f"{sample.name},{_written(sample.labels)}".rstrip(","): sample.value for sample in samples}


def _written(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a port for metrics; what is exported is not left in the environment."""
    monkeypatch.setenv(FOLDER, "")
    return Settings(tmp_path, work=Work(metrics_port=free_port()))


@pytest.fixture
def counting(settings: Settings) -> Iterator[list["subprocess.Popen[str]"]]:
    """Two processes that have counted a task each."""
    with export_metrics(settings):
        command = [sys.executable, "-c", COUNTING]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
        for process in processes:
            assert process.stdout.readline() == "counted\n"
        yield processes
        for process in processes:
            process.kill()
            process.communicate()


def test_the_numbers_of_all_processes_are_added_up(settings: Settings, counting: list["subprocess.Popen[str]"]) -> None:
    both = scraped(settings.work.metrics_port)
    assert both["anyseek_tasks_total,outcome=done,task=embed"] == 2
    assert both["anyseek_task_seconds_count,task=embed"] == 2
    assert both["anyseek_worker_processes"] == 2
    counting[0].kill()
    counting[0].wait()
    left = scraped(settings.work.metrics_port)
    assert left["anyseek_tasks_total,outcome=done,task=embed"] == 2, "what was counted stays"
    assert left["anyseek_worker_processes"] == 1
    assert 0 < left["anyseek_worker_memory_bytes"] < both["anyseek_worker_memory_bytes"]


def test_nothing_is_left_behind(settings: Settings) -> None:
    port = settings.work.metrics_port
    with export_metrics(settings):
        folder = Path(os.environ[FOLDER])
        assert folder.is_dir()
        with socket.create_connection(("127.0.0.1", port)):  # a client that says nothing keeps nobody away
            assert scraped(port) == {}
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        scraped(port)


def test_a_taken_port_is_told_in_one_sentence(settings: Settings) -> None:
    taken = socket.create_server(("127.0.0.1", settings.work.metrics_port))
    with taken, pytest.raises(CannotExport, match="choose another ANYSEEK_WORK_METRICS_PORT"), export_metrics(settings):
        pytest.fail("it began")


def test_without_a_port_nothing_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with export_metrics(Settings(tmp_path)):
        assert FOLDER not in os.environ


@pytest.fixture
def context(tmp_path: Path) -> Iterator[IndexerContext]:
    """An installation of the test database and RabbitMQ whose workers export."""
    made = settings_of(tmp_path / "home", os.environ[RABBIT])
    settings = replace(made, work=replace(made.work, metrics_port=free_port()))
    with installation(settings.home, settings=settings) as context:
        empty(context.database)
        yield context


@pytest.mark.skipif(POSTGRES not in os.environ or RABBIT not in os.environ, reason=f"{POSTGRES} or {RABBIT} is not set")
def test_a_real_worker_exports_its_work_until_it_is_killed(context: IndexerContext, tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", range(20))
    port = context.settings.work.metrics_port
    with working(context.settings, "w") as worker:
        assert scraped(port)["anyseek_worker_processes"] == 2
        job = submit(context, photos)
        wait_for(lambda: not look(context, job).active, "the end of the job")
        wait_for(lambda: scraped(port).get("anyseek_tasks_total,outcome=done,task=snapshot"), "the snapshot")
        seen = scraped(port)
        assert seen["anyseek_inputs_settled_total"] == 20
        assert seen["anyseek_tasks_total,outcome=done,task=embed"] >= 2
        assert seen["anyseek_stage_seconds_count,stage=decode"] == 20
        assert seen["anyseek_model_batch_samples_sum"] >= 20
        assert seen["anyseek_worker_memory_bytes"] > 1e7
        end_by_signal(worker)
        wait_for(lambda: is_free(port), "the port to be free")


def end_by_signal(worker: WorkerProcess) -> None:
    """kill -9 of the first process alone."""
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait(60)


def is_free(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) != 0
