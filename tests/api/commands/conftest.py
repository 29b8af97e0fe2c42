"""Commands as a user runs them: in this process, or in one of their own where that matters."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from anyseek.api import cli
from tests.encoders import link_encoders

Run = Callable[..., "Done"]
Serve = Callable[[Path], "subprocess.Popen[str]"]
Imported = Callable[..., tuple[str, str]]

_PROGRAM = "import sys; from anyseek.api.cli import main; sys.argv[0] = 'anyseek'; main()"


# Runs command lines with a `+` between them, and says on stderr which heavy packages they imported.
_WATCHED = (
    "import sys; from itertools import groupby; from anyseek.api.cli import run; "
    "code = max(run(list(line)) for is_between, line in groupby(sys.argv[1:], '+'.__eq__) if not is_between); "
    "heavy = ('torch', 'faiss', 'sqlalchemy', 'alembic', 'numpy', 'fastapi', 'PIL', 'pydantic', 'httpx', 'httpcore'); "
    "heavy = [name for name in heavy if name in sys.modules]; "
    "print('imported', heavy, file=sys.stderr); sys.exit(code)"
)


def _environment(home: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ANYSEEK")}
    return plain | {"ANYSEEK_HOME": str(home), "ANYSEEK_MODEL": "hashing", "OMP_NUM_THREADS": "1"} | more


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@contextmanager
def unrecorded(home: Path) -> Iterator[None]:
    """While the block runs, no command finds the running service."""
    hidden = (home / "server.json").rename(home / "server.hidden")
    try:
        yield
    finally:
        hidden.rename(home / "server.json")


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process; environment variables as keywords."""

    def start(*arguments: str, **more: str) -> Done:
        with monkeypatch.context() as patched:
            for name, value in _environment(home, **more).items():
                patched.setenv(name, value)
            capsys.readouterr()
            code = cli.run(list(arguments))
        return Done(code, *capsys.readouterr())

    return start


@pytest.fixture
def imported(home: Path) -> Callable[..., tuple[str, str]]:
    """Runs command lines, a `+` between them, in a fresh process; gives their output and the heavy packages imported.

    `at` is their data directory.
    """

    def start(*arguments: str, at: Path = home) -> tuple[str, str]:
        command = [sys.executable, "-c", _WATCHED, *arguments]
        done = subprocess.run(command, env=_environment(at), capture_output=True, text=True, timeout=60, check=True)
        return done.stdout, done.stderr

    return start


def _serve(home: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _PROGRAM, "serve", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=_environment(home), text=True, **pipes)


@pytest.fixture
def serve() -> Serve:
    """Starts `anyseek serve` on a free port in a process of its own; its first line of output tells the address."""
    return _serve


def start_training(kind: str, *arguments: str) -> "subprocess.Popen[str]":
    """`anyseek train KIND` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _PROGRAM, "train", kind, *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_checkpoint(folder: Path, step: int, process: "subprocess.Popen[str]") -> None:
    """Until the checkpoint of `step` or a later one is there."""
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        if any(int(path.stem.removeprefix("step-")) >= step for path in (folder / "checkpoints").glob("step-*")):
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.fixture(scope="module")
def serving(home: Path) -> Iterator[str]:
    """A running `anyseek serve` on a free port."""
    with _serve(home) as process:
        line = process.stdout.readline()
        assert line.startswith("Anyseek is at http://127.0.0.1:")
        yield line.split()[-1]
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert not (home / "server.json").exists()


@pytest.fixture(scope="module")
def gallery(serving: str, home: Path) -> str:
    from anyseek import Client

    with Client(serving, patience=30) as client:
        client.create_collection("shapes")
        for name in ("red disc", "green box", "blue bar"):
            client.put_item("shapes", name, caption=f"a {name}", attributes={"n": 1})
    return "shapes"


@pytest.fixture
def bundled_home(tmp_path: Path) -> Path:
    """A data directory with the encoders of `4m-tiny`, where somebody has pulled them."""
    link_encoders(tmp_path / "home")
    return tmp_path / "home"
