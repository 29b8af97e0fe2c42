"""Whether a backup is whole: all of it is read, nothing is written."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.backup.archive import ASSETS, HEADER, MANIFEST, Contents, Member, members, sealed_contents
from search.backup.errors import BackupCorrupt, BackupUnknown
from search.backup.records import Kind
from search.backup.write import FORMAT


@dataclass(frozen=True)
class Header:
    """What the first member of a backup says: the version of the tables, whether files are in it, and the columns."""

    schema: str
    assets: bool
    tables: Mapping[str, Mapping[str, Kind]]


def check(path: Path) -> Header:
    """Compare every member of a backup with its checksum, and the members with the manifest.

    Raises `BackupCorrupt`, `BackupUnknown` for another format, `OSError`.
    """
    header, seen, sealed = None, Contents(), None
    for member in members(path):
        if sealed is not None:
            raise BackupCorrupt(f"{path} goes on after its manifest, with {member.name}")
        if header is None:
            header, digest = _read_header(member, path)
            seen.add(HEADER, member.size, digest)
        elif member.name == MANIFEST:
            sealed = sealed_contents(member.read(), path)
        else:
            seen.add(member.name, member.size, _digest(member))
    if header is None or sealed is None:
        raise BackupCorrupt(f"{path} is cut short: its manifest, which comes last, is not there")
    if seen != sealed:
        raise BackupCorrupt(f"{path} does not hold what its manifest says: {_difference(seen, sealed)}")
    return header


def _read_header(member: Member, path: Path) -> tuple[Header, str]:
    if member.name != HEADER:
        raise BackupCorrupt(f"{path} is no backup of Anyseek: it begins with {member.name!r}")
    data = member.read()
    try:
        said = json.loads(data)
        if said["format"] != FORMAT:
            raise BackupUnknown(
                f"{path} has backup format {said['format']}; this version of Anyseek reads format {FORMAT} only, so "
                "restore it with the version that wrote it"
            )
        tables = {
            table: {name: Kind(kind) for name, kind in columns.items()} for table, columns in said["tables"].items()
        }
        header = Header(str(said["schema"]), bool(said["assets"]), tables)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupCorrupt(f"the beginning of {path} cannot be read: {error}") from error
    return header, hashlib.sha256(data).hexdigest()


def _digest(member: Member) -> str:
    """The checksum of a member; an asset's must be its name."""
    hashed = hashlib.sha256()
    for block in member.blocks():
        hashed.update(block)
    digest = hashed.hexdigest()
    if member.name.startswith(ASSETS) and member.name != f"{ASSETS}{digest[:2]}/{digest[2:]}":
        raise BackupCorrupt(f"{member.name} in the backup has other bytes than its name says")
    return digest


def _difference(seen: Contents, sealed: Contents) -> str:
    for name in sorted({*seen.members, *sealed.members}):
        if seen.members.get(name) != sealed.members.get(name):
            return f"{name} is missing or has other bytes"
    return f"{seen.assets} stored files where there should be {sealed.assets}, or others"
