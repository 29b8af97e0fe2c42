"""`anyseek train model`: what a user sees, and that killing it at any time changes nothing about the result."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from anyseek.model.training.run.folder import read_records
from tests.api.commands.conftest import Run, start_training, wait_for_checkpoint
from tests.model.training.shapes import settings, with_contrast, write_data

_TIMES = ("time", "seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "shapes"
    write_data(folder)
    return folder


def _config(folder: Path, shapes: Path, *, contrasts: bool = False, **changed: Any) -> Path:
    path = folder / "shapes.yaml"
    values = with_contrast(settings(shapes), folder) if contrasts else settings(shapes)
    path.write_text(yaml.safe_dump({**values, **changed}, sort_keys=False))
    return path


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _rows(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in read_records(path)]


def _assert_same_run(run: Path, other: Path) -> None:
    for file in ("model.safetensors", "shortcuts.safetensors"):
        expected, found = _tensors(run / file), _tensors(other / file)
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)
    for name in ("metrics.csv", "evaluation.csv"):
        assert _rows(run / name) == _rows(other / name)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(6,), (2, 12, 22)])
def test_a_killed_run_ends_in_the_same_weights(run: Run, data: Path, tmp_path: Path, kills: tuple[int, ...]) -> None:
    every = {"checkpoint_every": 2, "report_every": 2, "workers": 1}
    config = str(_config(tmp_path, data, contrasts=True, run=every, total_tokens=(kills[-1] + 14) * 8 * 48))
    killed = tmp_path / "killed"
    for step in kills:
        process = start_training("model", config, "--out", str(killed), "--resume")
        wait_for_checkpoint(killed, step, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (killed / "model.safetensors").exists()
    process = start_training("model", config, "--out", str(killed), "--resume")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "going on from" in output
    assert run("train", "model", config, "--out", str(tmp_path / "whole")).returncode == 0
    _assert_same_run(tmp_path / "whole", killed)


@pytest.mark.slow
def test_ctrl_c_saves_and_ends(data: Path, tmp_path: Path) -> None:
    run = {"checkpoint_every": 3, "report_every": 100, "workers": 1}
    config = str(_config(tmp_path, data, run=run, total_tokens=100_000 * 8 * 48))
    process = start_training("model", config, "--out", str(tmp_path / "run"))
    wait_for_checkpoint(tmp_path / "run", 3, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == f"interrupted; run the same command with --resume to go on from {tmp_path / 'run'}\n"
    last = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert _rows(tmp_path / "run" / "metrics.csv")[-1]["step"] == int(last.stem.removeprefix("step-"))
    assert "made" not in output


def test_a_local_run_reports_its_progress(run: Run, data: Path, tmp_path: Path) -> None:
    config = _config(tmp_path, data, total_tokens=5 * 8 * 48)
    done = run("train", "model", str(config), "--out", str(tmp_path / "run"), "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "5 steps of 8 samples" in done.stdout
    assert f"made {tmp_path / 'run' / 'model.safetensors'}" in done.stdout
    again = run("train", "model", str(config), "--out", str(tmp_path / "run"))
    assert again.returncode == 1
    assert "--resume" in again.stderr


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"precision": "float8"}, 2, "precision must be 'float32' or 'bfloat16', not 'float8'"),
        ({"network": {"dim": 30}}, 2, "network: dim 30 must be a multiple of 4"),
        ({"data": {"folders": [{"folder": "nowhere"}]}}, 1, "nowhere has no finished data set"),
    ],
)
def test_an_error_is_one_line(
    run: Run, data: Path, tmp_path: Path, changed: dict[str, Any], code: int, says: str
) -> None:
    done = run("train", "model", str(_config(tmp_path, data, **changed)), "--out", str(tmp_path / "run"))
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_smoke_config_learns_from_the_smoke_data(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CI and the README promise; the data set is built if `make` has not done so."""
    root = Path(__file__).parents[3]
    folder = root / "runs" / "data" / "smoke"
    if not (folder / "dataset.json").exists():
        folder = tmp_path / "smoke"
        home = os.environ.get("ANYSEEK_HOME", str(Path("~/.anyseek").expanduser()))
        built = run("data", "build", str(root / "configs/data/smoke.yaml"), "--out", str(folder), ANYSEEK_HOME=home)
        assert built.returncode == 0, built.stderr
    monkeypatch.chdir(root)
    values = yaml.safe_load((root / "configs" / "smoke.yaml").read_text())
    values["data"]["folders"] = [{"folder": str(folder)}]
    config = tmp_path / "smoke.yaml"
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    assert run("train", "model", str(config), "--out", str(tmp_path / "run")).returncode == 0
    training, evaluation = read_records(tmp_path / "run/metrics.csv"), read_records(tmp_path / "run/evaluation.csv")
    assert float(training[-1]["loss"] or 9) < 0.75 * float(training[0]["loss"] or 0)
    assert float(evaluation[-1]["loss"] or 9) < float(evaluation[0]["loss"] or 0)
    assert float(evaluation[-1]["recall@10/visual_global/picture_map"] or 0) > 0.6  # of some 20; half of it by chance
