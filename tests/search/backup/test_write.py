"""What a killed backup leaves is removed by the next one; what others are still writing is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from anyseek.model.files import FileLock
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.backup.write import backup
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings

_KILLED = """
import os, signal, sys
from pathlib import Path
import anyseek.search.backup.write as write
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings

settings = Settings(Path(sys.argv[1]))
write._write = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)
write.backup(Database(settings.database_url), FolderAssetStore(settings.assets), Path(sys.argv[2]))
"""


def test_the_next_backup_removes_a_killed_one_and_nothing_that_is_being_written(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere" / "b.tar"
    target.parent.mkdir()
    command = [sys.executable, "-c", _KILLED, str(settings.home), str(target)]
    assert subprocess.run(command, env=os.environ, check=False).returncode == -signal.SIGKILL
    (left,) = target.parent.iterdir()
    with FileLock(left):
        backup(database, FolderAssetStore(settings.assets), target)
        assert sorted(target.parent.iterdir()) == [left, target]
    backup(database, FolderAssetStore(settings.assets), target)
    assert list(target.parent.iterdir()) == [target]
