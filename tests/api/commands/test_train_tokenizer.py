"""`anyseek train tokenizer`: what a user sees, and that killing it at any time changes nothing about the result."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from anyseek.model.training.run.folder import read_records
from tests.api.commands.conftest import Run, start_training, wait_for_checkpoint
from tests.model.training.tokenizing.scenes import settings, write_scenes

_TIMES = ("time", "seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "scenes"
    write_scenes(folder)
    return folder


def _config(folder: Path, scenes: Path, family: str, steps: int, **changed: Any) -> Path:
    path = folder / "scenes.yaml"
    path.write_text(yaml.safe_dump(settings(scenes, family, steps) | changed, sort_keys=False))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["picture", *(pytest.param(name, marks=pytest.mark.slow) for name in ("diffusion", "vector"))]
)
def test_a_killed_run_ends_in_the_same_weights(run: Run, data: Path, tmp_path: Path, family: str) -> None:
    every = {"checkpoint_every": 2, "report_every": 2, "workers": 1}
    config = str(_config(tmp_path, data, family, steps=24, run=every))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start_training("tokenizer", config, "--out", str(killed))
    wait_for_checkpoint(killed, 6, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "tokenizer.safetensors").exists()
    process = start_training("tokenizer", config, "--out", str(killed), "--resume")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "going on from" in output
    assert run("train", "tokenizer", config, "--out", str(whole)).returncode == 0
    expected, found = load_file(whole / "tokenizer.safetensors"), load_file(killed / "tokenizer.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)
    for name in ("metrics.csv", "evaluation.csv"):
        rows = [
            [{key: value for key, value in row.items() if key not in _TIMES} for row in read_records(folder / name)]
            for folder in (whole, killed)
        ]
        assert rows[0] == rows[1]


def test_a_local_run_reports_its_progress(run: Run, data: Path, tmp_path: Path) -> None:
    config = _config(tmp_path, data, "vector", steps=5)
    done = run("train", "tokenizer", str(config), "--out", str(tmp_path / "run"), "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "VQVAE of" in done.stdout
    assert "24 samples, 5 steps of 8 samples" in done.stdout
    assert f"made {tmp_path / 'run' / 'tokenizer.safetensors'}" in done.stdout
    again = run("train", "tokenizer", str(config), "--out", str(tmp_path / "run"))
    assert again.returncode == 1
    assert "--resume" in again.stderr


def test_an_error_is_one_line(run: Run, data: Path, tmp_path: Path) -> None:
    config = _config(tmp_path, data, "picture", steps=5, precision="float8")
    done = run("train", "tokenizer", str(config), "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "precision must be 'float32' or 'bfloat16', not 'float8'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
