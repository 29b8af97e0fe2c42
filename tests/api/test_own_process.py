"""Whatever computes in a process of its own does so with the threads of the settings, as a service does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from anyseek import Client
from anyseek.api.cli import run
from anyseek.api.commands.predict import PredictionRun, open_predictor
from anyseek.model.compute.threads import SHARING


def _evaluates(folder: Path) -> None:
    assert run(["eval", str(folder), "--model", "hashing", "--no-baselines"]) != 0  # there is nothing to measure


def _predicts(folder: Path) -> None:
    with open_predictor(PredictionRun(("caption",), "4m-tiny", "cpu")):
        pass


def _predicts_beside_searching(folder: Path) -> None:
    with Client(model="hashing"):
        pass


@pytest.mark.parametrize("start", [_evaluates, _predicts, _predicts_beside_searching])
def test_threads_are_those_of_the_settings(
    start: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANYSEEK_THREADS", "3")
    monkeypatch.setattr(SHARING, "threads", None)
    (tmp_path / "empty").mkdir()
    start(tmp_path / "empty")
    assert SHARING.threads == 3
