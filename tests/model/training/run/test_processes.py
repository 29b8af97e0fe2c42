"""Two processes on this machine: what they tell each other, and that they train as one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.folder import read_records
from anyseek.model.training.run.launching import run_processes
from anyseek.model.training.run.processes import SINGLE_PROCESS, check_divisible
from anyseek.model.training.run.state import checkpoints
from tests.model.training.runs import last_checkpoint, numbers, stop_at, train, write_config
from tests.model.training.shapes import settings, with_contrast

Values = dict[str, Any]
STEP = 8 * 48  # tokens
TOGETHER = [sys.executable, "-m", "anyseek", "train", "model"]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    check_divisible(4, 2)
    with pytest.raises(TrainingConfigInvalid, match=r"batch\.accumulation 8 cannot be divided among 3 processes"):
        check_divisible(8, 3)


def test_alone_nothing_is_sent() -> None:
    assert SINGLE_PROCESS.sum_over_processes([1.5, 2]) == [1.5, 2]
    assert SINGLE_PROCESS.any(True)
    with SINGLE_PROCESS.main_process_first():
        assert SINGLE_PROCESS.is_main


def _python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


_TALK = """
import sys
import torch
from datetime import timedelta
from anyseek.model.training.run.processes import join_processes
with join_processes(torch.device("cpu"), timedelta(seconds=15)) as processes:
    found = processes.sum_over_processes([1.0, processes.number]), processes.any(processes.number == 1)
    mean = torch.tensor([processes.number, 7.0])
    processes.average([mean])
    with open(f"{sys.argv[1]}/{processes.number}", "w") as file:
        print(*found, mean.tolist(), file=file)
    if len(sys.argv) > 2 and processes.number == 1:
        import time
        time.sleep(300)
    processes.any(False)
"""


@pytest.mark.slow
def test_what_one_says_all_know_and_who_does_not_answer_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    assert run_processes(_python(_TALK, str(tmp_path)), 2, said.append) == 0
    assert {(tmp_path / name).read_text() for name in "01"} == {"[2.0, 1.0] True [0.5, 7.0]\n"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("anyseek.model.training.run.launching._GRACE", 1.0)
        assert run_processes(_python(_TALK, str(tmp_path), "hang"), 2, said.append) == 1
    assert "another process of this run has ended, or did not answer for 15 seconds" in capfd.readouterr().err


def _values(data: Path, folder: Path, steps: int = 8, **changed: Any) -> Values:
    """A run with everything, of which two processes take whole parts."""
    folder.mkdir(exist_ok=True)
    values = with_contrast(settings(data), folder)
    values |= {"total_tokens": steps * STEP, "run": {"checkpoint_every": 4, "report_every": 1, "workers": 0}}
    values["evaluation"]["every"] = steps
    return values | changed


def _together(path: Path, out: Path, *more: str) -> int:
    return run_processes([*TOGETHER, str(path), "--out", str(out), "--device", "cpu", *more], 2, print)


def _assert_near(one: Path, other: Path) -> None:
    """The same curves and weights but for rounding."""
    for name in ("metrics.csv", "evaluation.csv"):
        for row, same in zip(numbers(one / name), numbers(other / name), strict=True):
            assert same == pytest.approx(row, rel=1e-3, abs=1e-5), row["step"]
    for path in one.glob("*.safetensors"):
        tensors, others = load_file(path), load_file(other / path.name)
        for key, tensor in tensors.items():
            torch.testing.assert_close(others[key], tensor, rtol=2e-3, atol=2e-3, msg=key)
    assert load_file(last_checkpoint(one)).keys() == load_file(last_checkpoint(other)).keys()


@pytest.mark.slow
def test_two_processes_train_as_one_does(data: Path, tmp_path: Path) -> None:
    path = write_config(_values(data, tmp_path), tmp_path)
    train(path, tmp_path / "one")
    assert _together(path, tmp_path / "two") == 0
    _assert_near(tmp_path / "one", tmp_path / "two")


def _start(path: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    command = [*TOGETHER, str(path), "--out", str(out), "--device", "cpu", "--processes", "2", *more]
    return subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _wait_for(out: Path, process: "subprocess.Popen[str]") -> None:
    """Until a checkpoint is there."""
    while not checkpoints(out / "checkpoints"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def _children(process: int) -> list[int]:
    """The processes that one has started, and that train."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            started = b"RANK=" in (one / "environ").read_bytes()
        except OSError:
            continue
        if parent == process and started:
            found.append(int(one.name))
    return found


@pytest.mark.slow
def test_a_killed_run_of_two_goes_on_as_one(data: Path, tmp_path: Path) -> None:
    """Mid-epoch: an epoch is 60 samples, and the run is killed after 16 to 40 of them."""
    run = {"checkpoint_every": 2, "report_every": 1, "workers": 1}
    path = write_config(_values(data, tmp_path, steps=12, run=run), tmp_path)
    train(path, tmp_path / "whole")
    process = _start(path, tmp_path / "killed")
    _wait_for(tmp_path / "killed", process)
    os.kill(_children(process.pid)[0], signal.SIGKILL)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "was ended by SIGKILL; --resume goes on from the last checkpoint" in errors
    assert "another process of this run has ended" in errors
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    train(path, tmp_path / "killed", resume=True)
    _assert_near(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_a_run_of_one_goes_on_as_two_that_a_signal_ends_together(data: Path, tmp_path: Path) -> None:
    run = {"checkpoint_every": 3, "report_every": 1, "workers": 0}
    path = write_config(_values(data, tmp_path, steps=100_000, run=run), tmp_path)
    out = tmp_path / "run"
    assert not train(path, out, say=stop_at(2))
    process = _start(path, out, "--resume")
    while len(read_records(out / "metrics.csv")) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(_children(process.pid)[1], signal.SIGTERM)  # one of the two is asked
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors
    assert errors.count("interrupted; run the same command with --resume") == 1
    last = last_checkpoint(out)
    assert int(last.stem.removeprefix("step-")) == read_records(out / "metrics.csv")[-1]["step"]


@pytest.mark.slow
def test_processes_whose_starter_is_killed_save_and_end(data: Path, tmp_path: Path) -> None:
    run = {"checkpoint_every": 3, "report_every": 1, "workers": 0}
    path = write_config(_values(data, tmp_path, steps=100_000, run=run), tmp_path)
    process = _start(path, tmp_path / "run")
    _wait_for(tmp_path / "run", process)
    children = _children(process.pid)
    assert len(children) == 2
    process.kill()
    process.communicate()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{child}/fd").exists() and _runs(child) for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
