"""The last step of pulling and importing: turn files gathered in a folder into an installed checkpoint.

One process at a time gathers a checkpoint in `models/.incoming/NAME`. It then checks the header against the network,
moves the files into place, and writes `fingerprint.json` last.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.files import FileLock
from anyseek.model.fourm.published.names import VOCABULARY, VOCABULARY_SHA256, Role, published
from anyseek.model.fourm.published.store import (
    CONFIG_FILE,
    MODEL_FILE,
    RECORD_FILE,
    VOCABULARY_FILE,
    InstalledFile,
    Record,
    describe,
    folder_of,
    incoming_folder,
    write_record,
)

Say = Callable[[str], None]
_SPARE = 64 * 1024 * 1024  # bytes to leave free on the disk


@contextmanager
def gathering(name: str, home: Path, say: Say) -> Iterator[Path]:
    """The folder to gather `name` in, held by one process at a time; waits for another process and reports it."""
    folder = incoming_folder(name, home)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{name}.lock"))
    if not lock.try_acquire():
        say(f"{name}: another process is at it; waiting")
        lock.acquire()
    try:
        folder.mkdir(exist_ok=True)  # the process before may have removed it
        yield folder
    finally:
        lock.release()


def install(name: str, folder: Path, files: Mapping[str, InstalledFile], source: str, home: Path) -> Record:
    """Check the `files` gathered in `folder` and make them the installed checkpoint or vocabulary `name`.

    `config.json` is kept only where it is read. Raises `CheckpointMismatch`, `ConfigInvalid` and `WeightsCorrupt`;
    nothing is installed then.
    """
    check(name, folder / (VOCABULARY_FILE if name == VOCABULARY else MODEL_FILE))
    kept = dict(files)
    if CONFIG_FILE in kept and not _config_file_is_read(folder / MODEL_FILE):
        del kept[CONFIG_FILE]
    record, target = Record(name, source, kept), folder_of(name, home)
    target.mkdir(parents=True, exist_ok=True)
    (target / RECORD_FILE).unlink(missing_ok=True)
    (target / CONFIG_FILE).unlink(missing_ok=True)
    for file in kept:
        (folder / file).replace(target / file)
    write_record(record, target)
    shutil.rmtree(folder)
    return record


def check(name: str, path: Path) -> None:
    """Check that a file is what its name says: a header of its network, or the vocabulary. Raises as `install` does."""
    if name == VOCABULARY:
        _check_vocabulary(path)
        return
    from anyseek.model.checkpoints.files import check_fourm, check_tokenizer

    (check_tokenizer if published(name).role is Role.TOKENIZER else check_fourm)(path)


def check_space(needed: int, home: Path) -> None:
    """Raise `DownloadFailed` unless the disk of `home` has `needed` bytes free, and some to spare."""
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if free < needed + _SPARE:
        raise DownloadFailed(f"{home} has {free / 1e9:.2f} GB free; {needed / 1e9:.2f} GB and some reserve are needed")


def _config_file_is_read(model: Path) -> bool:
    from anyseek.model.checkpoints.files import config_is_in_header

    return not config_is_in_header(model)


def _check_vocabulary(path: Path) -> None:
    found = describe(path).sha256
    if found != VOCABULARY_SHA256:
        raise WeightsCorrupt(f"{path} has sha256 {found}; the published vocabulary has {VOCABULARY_SHA256}")
