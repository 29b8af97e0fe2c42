"""A shell in which the commands of a document are typed, with a data directory of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAMS = Path(sys.executable).parent


def environment(folder: Path, programs: Path = _PROGRAMS, **more: str) -> dict[str, str]:
    """The user's variables without settings of Anyseek; data are in `home` below `folder`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ANYSEEK")}
    path = os.pathsep.join([str(programs), str(_PROGRAMS), os.environ["PATH"]])
    return plain | {"ANYSEEK_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "PATH": path, **more}


def typed(commands: str, folder: Path, variables: dict[str, str], seconds: int, exits: int = 0) -> str:
    """Run commands in one shell in `folder`, with yes to every question, and return what they print."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=variables,
        input="y\n",
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == exits, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def serving(command: str, folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """The URL that `anyseek serve` tells, on a free port; it ends when it is asked to."""
    line = ["bash", "-c", f"exec {command.strip()} --port 0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(line, cwd=folder, env=variables, text=True, **pipes) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM)
