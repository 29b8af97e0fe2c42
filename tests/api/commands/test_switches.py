"""Every command that loads a model computes as the settings say, and not as the environment does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest
from click.testing import CliRunner

import anyseek.model.library.loading
import anyseek.model.library.verification
import anyseek.search.evaluation.curves
import anyseek.workers.checks
from anyseek.model.compute.options import switches
from anyseek.model.errors import ModelError

Run = Callable[..., Any]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether OpenVINO was allowed at each load, where the environment had nothing to say of it."""
    allowed = []

    def load(*_: object) -> Never:
        allowed.append(switches({}).openvino)
        raise ModelError("seen enough")

    for module in (
        anyseek.model.library.loading,
        anyseek.model.library.verification,
        anyseek.search.evaluation.curves,
        anyseek.workers.checks,
    ):
        monkeypatch.setattr(module, "load_embedder", load)
    return allowed


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize(
    "command", [("eval", ".", "--model", "hashing"), ("models", "verify", "hashing"), ("config", "check")]
)
def test_commands_heed_the_setting(run: Run, seen: list[bool], command: tuple[str, ...], *, allowed: bool) -> None:
    assert run(*command, ANYSEEK_OPENVINO=str(allowed).lower()).returncode == 1
    assert seen == [allowed]


def test_so_does_the_fitting_of_curves(seen: list[bool], tmp_path: Path) -> None:
    done = CliRunner().invoke(anyseek.search.evaluation.curves.main, [str(tmp_path)], env={"ANYSEEK_OPENVINO": "false"})
    assert isinstance(done.exception, ModelError)
    assert seen == [False]
