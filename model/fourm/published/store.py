"""The installed published checkpoints below the data directory. Does not import torch.

`models/NAME/` holds `model.safetensors`, `config.json` where the repository has one, and `fingerprint.json`. The last
is written at the end, so a folder without it does not count as installed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.errors import WeightsCorrupt, WeightsMissing
from anyseek.model.files import FileLock, file_digest, write_file
from anyseek.model.fourm.published.names import (
    LICENCE,
    OWNER,
    PUBLISHED,
    VOCABULARY,
    VOCABULARY_SHA256,
    Role,
    published,
)

MODEL_FILE, CONFIG_FILE, VOCABULARY_FILE = "model.safetensors", "config.json", "tokenizer.json"
RECORD_FILE = "fingerprint.json"

LICENCE_NOTICE = (
    f"The published 4M weights have a {LICENCE} licence of their own, apart from the Apache-2.0 of the code; "
    f"read it at https://huggingface.co/{OWNER} before you use them."
)
_ACCEPTED = "licence-of-4m-weights"  # a file in `models/`, there once the licence was accepted


@dataclass(frozen=True)
class InstalledFile:
    """A file as it was installed: sha256 (64 hex digits) and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Record:
    """The content of `fingerprint.json`. `source` says where the files came from."""

    name: str
    source: str
    files: Mapping[str, InstalledFile]

    @property
    def fingerprint(self) -> str:
        """sha256 (64 hex digits) over the names and checksums of the files."""
        lines = [f"{name} {self.files[name].sha256}\n" for name in sorted(self.files)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def changed(self, folder: Path) -> list[Path]:
        """The files in `folder` that are gone or have other bytes than recorded; reads all of them."""
        paths = {folder / name: file.sha256 for name, file in self.files.items()}
        return [path for path, sha256 in paths.items() if not path.is_file() or file_digest(path) != sha256]

    def to_json(self) -> str:
        """The text of `fingerprint.json`."""
        return json.dumps({**asdict(self), "fingerprint": self.fingerprint}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Read `fingerprint.json`. Raises `WeightsCorrupt` naming `path`."""
        try:
            record = TypeAdapter(cls).validate_json(text)
            stated = json.loads(text)["fingerprint"]
        except (ValidationError, KeyError) as error:
            raise WeightsCorrupt(f"{path} is not a record of installed weights: {error}") from error
        if stated != record.fingerprint:
            raise WeightsCorrupt(f"the fingerprint in {path} does not match the checksums in it")
        return record


class State(StrEnum):
    """Whether a checkpoint is installed."""

    INSTALLED = "installed"
    INCOMPLETE = "incomplete"  # something lies there that was interrupted, changed or put there by hand
    MISSING = "not installed"


def folder_of(name: str, home: Path) -> Path:
    """The folder of the checkpoint or vocabulary `name`."""
    return home / "models" / name


def incoming_folder(name: str, home: Path) -> Path:
    """The folder for downloads of `name` before they are installed, on the same file system."""
    return home / "models" / ".incoming" / name


def vocabulary_file(home: Path) -> Path:
    """The file of the text vocabulary."""
    return folder_of(VOCABULARY, home) / VOCABULARY_FILE


def installed(name: str, home: Path) -> Record:
    """The record of `name`. Raises `WeightsMissing`, or `WeightsCorrupt` where a file has another size or is gone."""
    folder = folder_of(name, home)
    try:
        record = Record.from_json((folder / RECORD_FILE).read_text(encoding="utf-8"), folder / RECORD_FILE)
    except FileNotFoundError as error:
        raise WeightsMissing(f"{name} is not installed; run `anyseek models pull {name}`") from error
    for file, recorded in record.files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != recorded.size:
            raise WeightsCorrupt(f"{path} has changed since it was installed; run `anyseek models pull {name}`")
    return record


def state_of(name: str, home: Path) -> State:
    """Whether `name` can be used; reads only the record and the files' sizes."""
    try:
        installed(name, home)
    except WeightsCorrupt:
        return State.INCOMPLETE
    except WeightsMissing:
        begun = any(any(folder.glob("*")) for folder in (folder_of(name, home), incoming_folder(name, home)))
        return State.INCOMPLETE if begun else State.MISSING
    return State.INSTALLED


def installed_networks(home: Path) -> tuple[str, ...]:
    """Names of the installed networks that predict from pictures."""
    rows = (row for row in PUBLISHED.values() if row.role is Role.NETWORK)
    return tuple(row.name for row in rows if state_of(row.name, home) is State.INSTALLED)


def describe(path: Path) -> InstalledFile:
    """Checksum and size of a file; reads all of it."""
    return InstalledFile(file_digest(path), path.stat().st_size)


def write_record(record: Record, folder: Path) -> None:
    """Make the files in `folder` count as installed; the record appears whole or not at all."""
    write_file(folder / RECORD_FILE, record.to_json())


def is_licence_accepted(home: Path) -> bool:
    """Whether somebody using `home` accepted the licence before."""
    return (home / "models" / _ACCEPTED).exists()


def accept_licence(home: Path) -> None:
    """Remember that the licence was accepted, and when."""
    (home / "models").mkdir(parents=True, exist_ok=True)
    (home / "models" / _ACCEPTED).write_text(f"accepted {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")


Say = Callable[[str], None]
_SPARE = 64 * 1024 * 1024  # bytes to leave free on the disk


@contextmanager
def staging_folder(name: str, home: Path, say: Say) -> Iterator[Path]:
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
    if CONFIG_FILE in kept:
        from anyseek.model.checkpoints.files import config_is_in_header

        if config_is_in_header(folder / MODEL_FILE):
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
        digest = file_digest(path)
        if digest != VOCABULARY_SHA256:
            raise WeightsCorrupt(f"{path} has sha256 {digest}; the published vocabulary has {VOCABULARY_SHA256}")
        return
    from anyseek.model.checkpoints.files import check_fourm, check_tokenizer

    (check_tokenizer if published(name).role is Role.TOKENIZER else check_fourm)(path)


def check_space(needed: int, home: Path) -> None:
    """Raise `DownloadFailed` unless the disk of `home` has `needed` bytes free, and some to spare."""
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if free < needed + _SPARE:
        raise DownloadFailed(f"{home} has {free / 1e9:.2f} GB free; {needed / 1e9:.2f} GB and some reserve are needed")
