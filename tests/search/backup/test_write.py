"""What a killed backup leaves is removed at the next start; what others are still writing is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anyseek.model.files import TEMPORARY_PREFIX
from anyseek.search.assets import AssetStore
from anyseek.search.backup.write import backup, noted, remove_abandoned
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.search.gallery import begin_catalogue

_KILLED = """
import os, signal, sys
from pathlib import Path
import anyseek.search.backup.write as write
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings

settings = Settings(Path(sys.argv[1]))
write._write = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)
write.backup(Database(settings.database_url), AssetStore(settings.assets), Path(sys.argv[2]), notes=settings.locks)
"""


def _unfinished(folder: Path) -> list[Path]:
    return list(folder.glob(f"{TEMPORARY_PREFIX}*"))


def test_a_killed_backup_is_removed_at_the_next_start(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    begin_catalogue(home)
    elsewhere.mkdir()
    command = [sys.executable, "-c", _KILLED, str(home), str(elsewhere / "b.tar")]
    assert subprocess.run(command, env=os.environ, check=False).returncode == -signal.SIGKILL
    assert _unfinished(elsewhere)
    Runtime.open(Settings(home), "hashing").close()
    assert not _unfinished(elsewhere)
    assert not list((home / "locks").glob("backup-*"))


def test_one_that_is_being_written_stays(tmp_path: Path) -> None:
    unfinished = tmp_path / f"{TEMPORARY_PREFIX}1"
    unfinished.write_text("half")
    with noted(tmp_path / "locks", unfinished):
        remove_abandoned(tmp_path / "locks")
        assert unfinished.exists()
    assert not list((tmp_path / "locks").iterdir())


@pytest.mark.parametrize("said", ["", "precious", "/etc/hostname", "../precious", "a\0b"])
def test_a_note_that_is_damaged_removes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "backup-1").write_text(said)
    monkeypatch.chdir(tmp_path)
    remove_abandoned(tmp_path / "locks")
    assert (tmp_path / "precious").read_text() == "kept"
    assert Path("/etc/hostname").exists()


def test_a_backup_that_ends_leaves_no_note(tmp_path: Path) -> None:
    begin_catalogue(tmp_path / "home")
    settings = Settings(tmp_path / "home")
    database = Database(settings.database_url)
    backup(database, AssetStore(settings.assets), tmp_path / "b.tar", notes=settings.locks)
    database.close()
    assert (tmp_path / "b.tar").stat().st_size > 0
    assert not list(settings.locks.iterdir())
