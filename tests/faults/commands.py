"""Commands of `anyseek` in processes of their own."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

from anyseek.search.settings import variables
from tests.faults.trial import Trial
from tests.workers.processes import PATIENCE_SECONDS

_PROGRAM = "import sys; from anyseek.api.cli import main; main()"


@dataclass(frozen=True)
class Command:
    """A process, and the file with what it says: nobody reads a pipe while it runs, and a full one would stop it."""

    process: "subprocess.Popen[str]"
    said: IO[str]


def start(trial: Trial, *arguments: str, traps: str = "") -> Command:
    """`anyseek ARGUMENTS` on the trial's installation; both its outputs are one."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("ANYSEEK")}
    ours = {key: value for key, value in variables(trial.context.settings) if value}
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it goes with the command
    process = subprocess.Popen(
        [sys.executable, "-c", f"{traps}\n{_PROGRAM}", *arguments],
        env=plain | ours | {"OMP_NUM_THREADS": "1"},
        stdout=said,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return Command(process, said)


def ended(command: Command) -> tuple[int, str]:
    """Its exit code and what it said, once it has ended; one that takes too long is killed, and the trial fails."""
    try:
        code = command.process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        command.process.kill()
        command.process.wait()
        raise
    command.said.seek(0)
    return code, command.said.read()
