"""What all commands have in common: help, one line for what goes wrong, exit codes; and the small ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from anyseek.api import cli
from tests.api.commands.conftest import Imported, Run


def test_help_imports_nothing_heavy(imported: Imported) -> None:
    shown, heavy = imported("--help")
    assert heavy == "imported []\n"
    for command in ("index", "query", "serve", "collections", "jobs", "verify", "rebuild", "keys", "models", "demo"):
        assert f"\n  {command}" in shown


@pytest.fixture(scope="module")
def unserved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a collection `shapes` of one picture, for which no service runs."""
    home, photos = tmp_path_factory.mktemp("unserved"), tmp_path_factory.mktemp("photos")
    Image.new("RGB", (32, 32), "red").save(photos / "red.png")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ANYSEEK_HOME", str(home))
        patched.setenv("ANYSEEK_MODEL", "hashing")
        assert cli.run(["index", str(photos), "--collection", "shapes", "--json"]) == 0
    return home


@pytest.mark.parametrize(
    ("commands", "needed"),
    [
        ("keys list + audit", ["sqlalchemy", "pydantic"]),
        (
            "jobs list + sources list + collections list + items list --collection shapes",
            ["sqlalchemy", "numpy", "pydantic"],
        ),
        ("query --collection shapes red", ["faiss", "sqlalchemy", "numpy", "fastapi", "PIL", "pydantic", "httpx"]),
    ],
)
def test_a_command_without_a_service_imports_only_what_it_needs(
    imported: Imported, unserved: Path, commands: str, needed: list[str]
) -> None:
    _, heavy = imported(*commands.split(), at=unserved)
    assert heavy == f"imported {needed}\n"


def test_no_garbage_collection_runs_when_a_command_ends() -> None:
    program = """
import atexit, gc, sys
from anyseek.api.cli import main
atexit.register(lambda: print(gc.get_freeze_count() > 0))
sys.argv = ["anyseek", "--version"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("True\n")


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_is_there_and_helps(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: anyseek {command}")


@pytest.mark.usefixtures("gallery")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("query", "--collection", "none", "x"), 1, "none"),
        (("query", "--collection", "shapes", "--image", "gone.png"), 2, "gone.png"),
        (("query", "--collection", "shapes", "--image", __file__), 2, "test_every_command.py"),
        (("query", "--collection", "shapes", "--palette", "red"), 2, "#rrggbb"),
        (("query", "--collection", "shapes", "--item", "nobody"), 1, "nobody"),
        (("query", "--collection", "shapes", "x", "--space", "nowhere"), 1, "nowhere"),
        (("query", "--collection", "shapes", " "), 2, "empty"),
        (("query", "--collection", "shapes", "x", "--where", "width >"), 2, "ends where a value for 'width'"),
        (("collections", "show", "none"), 1, "none"),
        (("collections", "create", "a/b"), 2, "a/b"),
        (("collections", "create", "shapes"), 1, "shapes"),
        (("keys", "revoke", "nobody"), 1, "nobody"),
        (("keys", "create", "a b", "--scope", "read"), 2, "a b"),
        (("rebuild", "none"), 1, "none"),
        (("serve", "--port", "0", "--host", "0.0.0.0"), 2, "anyseek keys create"),
        (("serve", "--port", "0", "--host", "no-such-host.invalid"), 2, "no-such-host"),
    ],
)
def test_an_error_is_one_line(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert says in lines[0]
    assert not done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "--collection", "shapes"),
        ("query", "--collection", "shapes", "x", "-k", "0"),
        ("query", "--collection", "shapes", "x", "-k", "10001"),
        ("query", "--collection", "shapes", "x", "--text-weight", "nan"),
        ("query", "--collection", "shapes", "--batch", "gone.jsonl"),
        ("nonsense",),
        ("keys", "create", "x", "--scope", "root"),
        ("collections", "nonsense"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_without_a_service_everything_works_in_the_process(run: Run, home: Path, tmp_path: Path) -> None:
    alone = {"ANYSEEK_HOME": str(tmp_path / "alone")}
    assert run("collections", "list", **alone).stdout == ""
    assert "model hashing" in run("collections", "create", "mine", **alone).stdout
    assert json.loads(run("collections", "show", "mine", "--json", **alone).stdout)["items"] == 0
    assert "nothing was found" in run("query", "--collection", "mine", "x", **alone).stdout
    assert run("verify", **alone).returncode == 0
    assert run("rebuild", "mine", **alone).returncode == 0
    assert run("rebuild", **alone).returncode == 0
    assert run("collections", "delete", "mine", "--yes", **alone).returncode == 0
    assert run("collections", "show", "mine", **alone).returncode == 1
    assert run("verify", "--json", **alone).stdout == ""
