"""Which card each process of a worker takes."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from anyseek.api.cli import run
from anyseek.search.settings import Settings

pytest.importorskip("celery")
torch = pytest.importorskip("torch")

from anyseek.workers import worker  # noqa: E402
from anyseek.workers.app import EMBED, MAINTENANCE  # noqa: E402
from anyseek.workers.readiness import Readiness  # noqa: E402


def device_of(number: int, device: str, queue: str = EMBED, model: str = "4m-tiny") -> str:
    """The device that process `number` of a worker takes."""
    settings = Settings(Path("/data"), device=device, model=model)
    options = worker.Options("some", (queue,), 4)
    processes = worker._Processes(settings, options, worker._Flags(), cast(Readiness, None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "current_process", lambda: SimpleNamespace(index=number))
        own = processes._own_settings()
    assert own.model == "4m-tiny"
    return own.device


def test_processes_that_embed_take_a_card_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of(number, "cuda") for number in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert device_of(3, "cuda:1") == "cuda:1"
    assert device_of(3, "cpu") == "cpu"
    by_name = [device_of(number, "cpu", model="4m-tiny:device=cuda") for number in range(2)]
    assert by_name == ["cuda:0", "cuda:1"], "the device of the model's name is shared out too"
    assert device_of(3, "cuda", model="4m-tiny:device=cpu") == "cpu"


def test_a_process_without_a_model_asks_for_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cuda, "device_count")
    assert device_of(1, "cuda", MAINTENANCE) == "cuda"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("4m-tiny:device=cuda:999", "cuda:999 cannot be used: "),
        ("4m-tiny:device=tpu", "the option device of '4m-tiny:device=tpu' must be cpu, cuda, "),
    ],
)
def test_a_worker_without_its_device_ends_before_it_starts_with_one_sentence(
    model: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path))
    monkeypatch.setenv("ANYSEEK_BROKER_URL", "redis://127.0.0.1:1/0")
    assert run(["worker", "--name", "some", "--model", model]) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"anyseek: {says}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("model", "queue"), [("4m-tiny", MAINTENANCE), ("hashing", EMBED)])
def test_a_worker_that_loads_no_network_needs_no_card(model: str, queue: str) -> None:
    worker._check_device(Settings(Path("/data"), device="cuda:999", model=model), worker.Options("some", (queue,), 1))
