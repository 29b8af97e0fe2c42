"""Commands of `anyseek` in processes of their own."""

import os
import subprocess
import sys

from search.settings import variables
from tests.faults.trial import Trial
from tests.workers.processes import PATIENCE_SECONDS

_PROGRAM = "import sys; from api.cli import main; main()"


def start(trial: Trial, *arguments: str, traps: str = "") -> "subprocess.Popen[str]":
    """`anyseek ARGUMENTS` on the trial's installation; both its outputs are one."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("ANYSEEK")}
    ours = {key: value for key, value in variables(trial.tools.settings) if value}
    command = [sys.executable, "-c", f"{traps}\n{_PROGRAM}", *arguments]
    return subprocess.Popen(
        command,
        env=plain | ours | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(command: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and what it said, once it has ended; one that takes too long is killed, and the trial fails."""
    try:
        said, _ = command.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        command.kill()
        command.wait()
        raise
    return command.returncode, said
