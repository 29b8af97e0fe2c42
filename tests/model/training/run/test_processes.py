"""Two processes on this machine: what they tell each other, and that they train as one does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from anyseek.model.training.pretraining.train import train_model
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.folder import read_records
from anyseek.model.training.run.launching import run_processes
from anyseek.model.training.run.processes import ALONE, Processes, check_divisible
from anyseek.model.training.run.state import checkpoints
from tests.model.training.shapes import settings, with_contrast

Values = dict[str, Any]
STEP = 8 * 48  # tokens
TIMES = ("time", "seconds", "tokens_per_second")
TOGETHER = [sys.executable, "-m", "anyseek", "train", "model"]


@pytest.mark.parametrize(
    ("count", "parts", "slices", "cut"), [(1, 3, 3, False), (2, 4, 4, False), (2, 1, 2, True), (4, 2, 8, True)]
)
def test_parts_are_cut_only_where_there_are_too_few(count: int, parts: int, slices: int, cut: bool) -> None:
    processes = Processes(0, count)
    assert processes.slices(parts) == slices
    assert processes.cutting(parts) == (processes if cut else ALONE)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    check_divisible(8, 4, 2)
    with pytest.raises(
        TrainingConfigInvalid, match=r"batch\.size 8 cannot be divided among 3 processes in 6 equal slices"
    ):
        check_divisible(8, 6, 3)


def test_alone_nothing_is_sent() -> None:
    assert ALONE.summed([1.5, 2]) == [1.5, 2]
    assert ALONE.any(True)
    assert torch.equal(ALONE.joined(torch.arange(3)), torch.arange(3))
    with ALONE.first_alone():
        assert ALONE.is_first


def _python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


_TALK = """
import sys
import torch
from datetime import timedelta
from anyseek.model.training.run.processes import joined_processes
with joined_processes(torch.device("cpu"), timedelta(seconds=15)) as processes:
    found = processes.summed([1.0, processes.number]), processes.any(processes.number == 1)
    rows = processes.joined(torch.tensor([processes.number, 7])).tolist()
    with open(f"{sys.argv[1]}/{processes.number}", "w") as file:
        print(*found, rows, file=file)
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
    assert {(tmp_path / name).read_text() for name in "01"} == {"[2.0, 1.0] True [0, 7, 1, 7]\n"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("anyseek.model.training.run.launching._GRACE", 1.0)
        assert run_processes(_python(_TALK, str(tmp_path), "hang"), 2, said.append) == 1
    assert "another process of this run has ended, or did not answer for 15 seconds" in capfd.readouterr().err


def _written(folder: Path, values: Values) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def _values(data: Path, folder: Path, steps: int = 8, **changed: Any) -> Values:
    """A run with everything, of which two processes take whole parts."""
    folder.mkdir(exist_ok=True)
    values = with_contrast(settings(data), folder)
    values |= {"total_tokens": steps * STEP, "run": {"checkpoint_every": 4, "report_every": 1, "workers": 0}}
    values["evaluation"]["every"] = steps
    return values | changed


def _without_contrast(values: Values) -> Values:
    modalities = {key: one for key, one in values["modalities"].items() if key not in ("states", "shape_global")}
    kept = {key: value for key, value in values.items() if key != "contrast"}
    return kept | {"modalities": modalities, "evaluation": {"every": 8, "samples": 16}}


def _alone(path: Path, out: Path, *, resume: bool = False) -> None:
    assert train_model(path, out, resume=resume, device="cpu", say=lambda line: None)


def _together(path: Path, out: Path, *more: str) -> int:
    return run_processes([*TOGETHER, str(path), "--out", str(out), "--device", "cpu", *more], 2, print)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _assert_near(one: Path, other: Path) -> None:
    """The same curves and weights but for rounding."""
    for name in ("metrics.csv", "evaluation.csv"):
        rows, others = read_records(one / name), read_records(other / name)
        assert [row.keys() for row in rows] == [row.keys() for row in others]
        for row, same in zip(rows, others, strict=True):
            plain = {key: value for key, value in row.items() if key not in TIMES}
            assert {key: same[key] for key in plain} == pytest.approx(plain, rel=1e-3, abs=1e-5), row["step"]
    for path in one.glob("*.safetensors"):
        tensors, found = _tensors(path), _tensors(other / path.name)
        for key, tensor in tensors.items():
            torch.testing.assert_close(found[key], tensor, rtol=2e-3, atol=2e-3, msg=key)
    states = [set(_tensors(checkpoints(folder / "checkpoints")[-1])) for folder in (one, other)]
    assert states[0] == states[1]


_CASES: dict[str, Callable[[Values], Values]] = {
    "whole parts": lambda values: values,
    "parts that are cut": lambda values: values | {"batch": {"size": 8, "accumulation": 1}},
    "parts that are cut, by tokens": lambda values: values | {"batch": {"size": 8, "accumulation": 1}, "loss": "token"},
    "no contrast and blocks computed twice": lambda values: (
        _without_contrast(values) | {"run": {**values["run"], "activation_checkpointing": True}}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", _CASES)
def test_two_processes_train_as_one_does(data: Path, tmp_path: Path, case: str) -> None:
    path = _written(tmp_path, _CASES[case](_values(data, tmp_path)))
    _alone(path, tmp_path / "one")
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
    path = _written(tmp_path, _values(data, tmp_path, steps=12, run=run))
    _alone(path, tmp_path / "whole")
    process = _start(path, tmp_path / "killed")
    _wait_for(tmp_path / "killed", process)
    os.kill(_children(process.pid)[0], signal.SIGKILL)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "was ended by SIGKILL; --resume goes on from the last checkpoint" in errors
    assert "another process of this run has ended" in errors
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    _alone(path, tmp_path / "killed", resume=True)
    _assert_near(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_a_run_of_one_goes_on_as_two_that_a_signal_ends_together(data: Path, tmp_path: Path) -> None:
    run = {"checkpoint_every": 3, "report_every": 1, "workers": 0}
    path = _written(tmp_path, _values(data, tmp_path, steps=100_000, run=run))
    out = tmp_path / "run"

    def stop_at_two(line: str) -> None:
        if line.startswith("step 2 "):
            signal.raise_signal(signal.SIGTERM)

    assert not train_model(path, out, resume=False, device="cpu", say=stop_at_two)
    process = _start(path, out, "--resume")
    while len(read_records(out / "metrics.csv")) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(_children(process.pid)[1], signal.SIGTERM)  # one of the two is asked
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors
    assert errors.count("interrupted; run the same command with --resume") == 1
    last = checkpoints(out / "checkpoints")[-1]
    assert int(last.stem.removeprefix("step-")) == read_records(out / "metrics.csv")[-1]["step"]


@pytest.mark.slow
def test_processes_whose_starter_is_killed_save_and_end(data: Path, tmp_path: Path) -> None:
    run = {"checkpoint_every": 3, "report_every": 1, "workers": 0}
    path = _written(tmp_path, _values(data, tmp_path, steps=100_000, run=run))
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
