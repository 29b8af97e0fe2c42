"""Processes that a test may let die. They are forked from one that has imported the program, so each begins at once."""

import os
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

_PATIENCE_SECONDS = 120.0
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.indexer.harness", "anyseek.search.spaces.local.backend", "alembic.command"])


def begun(target: Callable[..., object], *arguments: object) -> BaseProcess:
    """A process that runs `target`, a function of a module, with the environment of now."""
    process = _CONTEXT.Process(target=_run, args=(dict(os.environ), target, arguments), daemon=True)
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """The exit code of a process, negative for a signal; None if it still runs after two minutes."""
    process.join(_PATIENCE_SECONDS)
    return process.exitcode


def _run(environment: Mapping[str, str], target: Callable[..., object], arguments: tuple[object, ...]) -> None:
    # The server of forks keeps the environment of the first test that asked it.
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)
