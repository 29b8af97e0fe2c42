"""Where published checkpoints lie below the data directory, and which of them are installed. Imports no torch.

`models/NAME/` holds `model.safetensors`, `config.json` where the repository has one, and `fingerprint.json`, which is
written last: a folder without it is not installed, whatever else lies there.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from model.errors import WeightsCorrupt, WeightsMissing
from model.published.names import PUBLISHED, VOCABULARY, Role

MODEL_FILE, CONFIG_FILE, VOCABULARY_FILE = "model.safetensors", "config.json", "tokenizer.json"
RECORD_FILE = "fingerprint.json"


@dataclass(frozen=True)
class InstalledFile:
    """What a file was when it was installed: sha256 (64 hex digits) and size in bytes."""

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

    def to_json(self) -> str:
        """The text of `fingerprint.json`."""
        return json.dumps({**asdict(self), "fingerprint": self.fingerprint}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Read `fingerprint.json`. Raises `WeightsCorrupt` naming `path`."""
        try:
            values = json.loads(text)
            files = {
                str(name): InstalledFile(str(one["sha256"]), int(one["size"])) for name, one in values["files"].items()
            }
            record = cls(str(values["name"]), str(values["source"]), files)
            if values["fingerprint"] != record.fingerprint:
                raise WeightsCorrupt(f"the fingerprint in {path} is not that of the checksums in it")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsCorrupt(f"{path} is no record of installed weights: {error}") from error
        return record


class State(StrEnum):
    """How far a checkpoint is here."""

    INSTALLED = "installed"
    INCOMPLETE = "incomplete"  # something lies there that was interrupted, changed or put there by hand
    MISSING = "not installed"


def folder_of(name: str, home: Path) -> Path:
    """Where the checkpoint or vocabulary `name` lies."""
    return home / "models" / name


def incoming_folder(name: str, home: Path) -> Path:
    """Where its files are gathered before they are installed, on the same file system."""
    return home / "models" / ".incoming" / name


def vocabulary_file(home: Path) -> Path:
    """Where the text vocabulary lies."""
    return folder_of(VOCABULARY, home) / VOCABULARY_FILE


def installed(name: str, home: Path) -> Record:
    """The record of `name`. Raises `WeightsMissing`, or `WeightsCorrupt` where a file has another size or is gone."""
    folder = folder_of(name, home)
    try:
        record = Record.from_json((folder / RECORD_FILE).read_text(encoding="utf-8"), folder / RECORD_FILE)
    except FileNotFoundError as error:
        raise WeightsMissing(f"{name} is not installed; run `anyseek models pull {name}`") from error
    for file, was in record.files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != was.size:
            raise WeightsCorrupt(f"{path} is not the file that was installed; run `anyseek models pull {name}`")
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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InstalledFile(digest, path.stat().st_size)


def write_record(record: Record, folder: Path) -> None:
    """Make the files in `folder` count as installed; the record appears whole or not at all."""
    beside = folder / f".{RECORD_FILE}.part"
    with beside.open("w", encoding="utf-8") as file:
        file.write(record.to_json())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / RECORD_FILE)
