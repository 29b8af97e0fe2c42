"""Notes of backups that are being written, so that what a killed process leaves behind is removed at the next start.

An unfinished backup may be as large as a finished one, and lies wherever its user wanted that.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anyseek.model.files import TEMPORARY_PREFIX, FileLock, alive

_NOTE = "backup-"


@contextmanager
def noted(folder: Path, unfinished: Path) -> Iterator[None]:
    """Note in `folder` that this process writes `unfinished` while the block runs."""
    note = folder / f"{_NOTE}{uuid.uuid4().hex}"
    with FileLock(note):
        try:
            note.write_text(str(unfinished), encoding="utf-8", errors="surrogateescape")
            yield
        finally:
            note.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove the unfinished backups of processes that are gone; what cannot be removed stays until the next start."""
    for note in folder.glob(f"{_NOTE}*"):
        if alive(note):
            continue
        with suppress(OSError):
            unfinished = Path(note.read_text(encoding="utf-8", errors="surrogateescape"))
            if unfinished.is_absolute() and unfinished.name.startswith(TEMPORARY_PREFIX):
                unfinished.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
