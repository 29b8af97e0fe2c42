"""A catalogue that a newer Anyseek has upgraded: every command says so in one sentence, and changes nothing."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from anyseek.api import cli
from anyseek.search.catalogue.upgrade import NEWEST, open_database
from anyseek.search.errors import CatalogueUnknown
from anyseek.search.settings import Settings

_SENTENCE = (
    f"anyseek: the catalogue has tables of version 9999, and this anyseek knows those up to {NEWEST}; install the "
    "anyseek that made them, or a newer one"
)
_COMMANDS = (
    "audit",
    "backup {out}/new.tar",
    "collections list",
    "index {out} --collection a",
    "items list --collection a",
    "jobs list",
    "keys list",
    "query --collection a red",
    "rebuild",
    "restore {out}/old.tar",
    "serve --port 0",
    "sources list",
    "verify",
)


def _make_newer(home: Path) -> bytes:
    """Give the catalogue an unknown version; return the bytes of its file."""
    file = home / "catalogue.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file.read_bytes()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a backup that is as it should be."""
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ANYSEEK_HOME", str(folder / "home"))
        patched.setenv("ANYSEEK_MODEL", "hashing")
        assert cli.run(["backup", str(folder / "old.tar")]) == 0
    return folder


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of an empty installation."""
    home = tmp_path / "home"
    monkeypatch.setenv("ANYSEEK_HOME", str(home))
    monkeypatch.setenv("ANYSEEK_MODEL", "hashing")
    open_database(Settings(home)).close()
    return home


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_says_so_in_one_sentence(
    newer: Path, out: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _make_newer(newer)
    capsys.readouterr()
    assert cli.run(command.format(out=out).split()) == 1
    assert capsys.readouterr().err.splitlines() == [_SENTENCE]
    assert (newer / "catalogue.sqlite").read_bytes() == before
    assert not (out / "new.tar").exists()


def test_a_worker_says_so_and_ends(newer: Path) -> None:
    _make_newer(newer)
    program = "import sys; from anyseek.api.cli import main; sys.argv[0] = 'anyseek'; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "worker", "--name", "x"],
        env={"ANYSEEK_HOME": str(newer), "ANYSEEK_MODEL": "hashing", "ANYSEEK_BROKER_URL": "redis://127.0.0.1:1/0"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == _SENTENCE
    assert "Traceback" not in done.stderr


def test_the_error_has_a_code(newer: Path) -> None:
    _make_newer(newer)
    with pytest.raises(CatalogueUnknown) as refused:
        open_database(Settings(newer))
    assert refused.value.code == "catalogue-unknown"
