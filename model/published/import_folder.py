"""Importing published checkpoints that were fetched elsewhere: finding them in a folder, checking, copying."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import WeightsMissing
from model.published.installing import Say, check, check_space, gathering, install
from model.published.names import OWNER, PUBLISHED, VOCABULARY, published
from model.published.store import CONFIG_FILE, MODEL_FILE, VOCABULARY_FILE, InstalledFile, Record

_BLOCK = 1 << 22
_IN_CACHE = f"models--{OWNER}--"  # how the Hub's own cache calls the folder of a repository


@dataclass(frozen=True)
class Found:
    """A checkpoint or vocabulary in a folder: `files` by the names that they get here."""

    name: str
    files: dict[str, Path]


def import_folder(folder: Path, home: Path, say: Say, name: str | None = None) -> list[Record]:
    """Install every published checkpoint in `folder`, and the vocabulary; returns their records.

    `folder` is one checkpoint's own (`name` says which, where the folder is called otherwise) or holds folders of
    checkpoints, called as their repositories are, with or without owner, or as the Hub's cache calls them. All are
    checked before any is copied; files are copied, not linked, so that a later change of `folder` changes nothing
    here. Raises `UnknownModel`, `WeightsMissing` where nothing is found, `DownloadFailed` for a full disk,
    `WeightsCorrupt`, `ConfigInvalid`, `CheckpointMismatch`.
    """
    found = find_published(folder, name)
    for one in found:
        check(one.name, next(iter(one.files.values())))
    check_space(sum(path.stat().st_size for one in found for path in one.files.values()), home)
    records = []
    for one in found:
        with gathering(one.name, home, say) as incoming:
            copied = {file: _copy(path, incoming / file) for file, path in one.files.items()}
            records.append(install(one.name, incoming, copied, "imported", home))
    return records


def find_published(folder: Path, name: str | None = None) -> list[Found]:
    """What `import_folder` would install. Raises `UnknownModel`, `WeightsMissing`."""
    if name is not None:
        one = _vocabulary_in(folder) if name == VOCABULARY else _checkpoint(published(name).name, folder)
        found = [one] if one else []
    else:
        found = [one for path in _places(folder) if (one := _recognise(path)) is not None]
        vocabulary = _vocabulary_in(folder) or _vocabulary_in(folder / VOCABULARY)
        found += [vocabulary] if vocabulary else []
    if not found:
        raise WeightsMissing(
            f"{folder} holds no published checkpoint: expected {folder / '4M-21_B' / MODEL_FILE} or the like, "
            f"or {VOCABULARY}.json; for one checkpoint in a folder of another name say --name NAME"
        )
    return list({one.name: one for one in found}.values())


def _places(folder: Path) -> Iterator[Path]:
    """The folder, those in it, and those in the owner's."""
    absolute = folder.absolute()
    yield absolute
    for inside in (absolute, absolute / OWNER):
        if inside.is_dir():
            yield from sorted(path for path in inside.iterdir() if path.is_dir())


def _recognise(folder: Path) -> Found | None:
    """The checkpoint that a folder is called after, if it holds its weights."""
    cached = folder.name.startswith(_IN_CACHE)
    name = folder.name.removeprefix(_IN_CACHE)
    if name not in PUBLISHED:
        return None
    return _checkpoint(name, _snapshot(folder) if cached else folder)


def _snapshot(folder: Path) -> Path:
    """The checked-out files of a repository in the Hub's cache: of `main` if it is there, else the newest."""
    main = folder / "refs" / "main"
    if main.is_file() and (named := folder / "snapshots" / main.read_text().strip()).is_dir():
        return named
    return max((folder / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime, default=folder)


def _checkpoint(name: str, folder: Path) -> Found | None:
    files = {file: folder / file for file in (MODEL_FILE, CONFIG_FILE) if (folder / file).is_file()}
    return Found(name, files) if MODEL_FILE in files else None


def _vocabulary_in(folder: Path) -> Found | None:
    for path in (folder / f"{VOCABULARY}.json", folder / VOCABULARY_FILE):
        if path.is_file() and (path.stem == VOCABULARY or folder.name == VOCABULARY):
            return Found(VOCABULARY, {VOCABULARY_FILE: path})
    return None


def _copy(source: Path, target: Path) -> InstalledFile:
    """Copy a file; checksum and size of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(_BLOCK):
            digest.update(block)
            write.write(block)
        write.flush()
        os.fsync(write.fileno())
        return InstalledFile(digest.hexdigest(), write.tell())
