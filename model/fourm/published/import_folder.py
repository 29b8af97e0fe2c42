"""Import published checkpoints that were fetched elsewhere: find them in a folder, check them, copy them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.errors import WeightsMissing
from anyseek.model.files import flush_file
from anyseek.model.fourm.published.installing import Say, check, check_space, gathering, install
from anyseek.model.fourm.published.names import OWNER, PUBLISHED, VOCABULARY, published
from anyseek.model.fourm.published.store import (
    CONFIG_FILE,
    MODEL_FILE,
    VOCABULARY_FILE,
    InstalledFile,
    Record,
    describe,
)

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
    for checkpoint in found:
        check(checkpoint.name, next(iter(checkpoint.files.values())))
    check_space(sum(path.stat().st_size for checkpoint in found for path in checkpoint.files.values()), home)
    records = []
    for checkpoint in found:
        with gathering(checkpoint.name, home, say) as incoming:
            copied = {file: _copy(path, incoming / file) for file, path in checkpoint.files.items()}
            records.append(install(checkpoint.name, incoming, copied, "imported", home))
    return records


def find_published(folder: Path, name: str | None = None) -> list[Found]:
    """What `import_folder` would install. Raises `UnknownModel`, `WeightsMissing`."""
    if name is not None:
        checkpoint = _vocabulary_in(folder) if name == VOCABULARY else _checkpoint(published(name).name, folder)
        found = [checkpoint] if checkpoint else []
    else:
        found = [checkpoint for path in _places(folder) if (checkpoint := _recognise(path)) is not None]
        vocabulary = _vocabulary_in(folder) or _vocabulary_in(folder / VOCABULARY)
        found += [vocabulary] if vocabulary else []
    if not found:
        raise WeightsMissing(
            f"{folder} holds no published checkpoint: expected {folder / '4M-21_B' / MODEL_FILE} or the like, "
            f"or {VOCABULARY}.json; for one checkpoint in a folder of another name, give --name NAME"
        )
    return list({checkpoint.name: checkpoint for checkpoint in found}.values())


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
    shutil.copyfile(source, target)
    flush_file(target)
    return describe(target)
