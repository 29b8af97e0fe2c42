"""Files that belong to items: stored ones by the checksum of their content, references to files that stay put."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from search.durable import flush_file, temporary_beside, write_file
from search.errors import AssetNotFound, StoreCorrupt
from search.locks import FileLock
from search.types import Asset

# A file may be put this long before the transaction that refers to it commits; younger ones are never removed.
GRACE_SECONDS = 3600.0
_LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


class AssetStore:
    """A folder of files named by the sha256 of their bytes, so equal content is kept once. Safe for many processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, data: bytes, media_type: str) -> Asset:
        """Keep `data` and return the asset called `name` that refers to it; it is on the disk when this returns."""
        digest = hashlib.sha256(data).hexdigest()
        location = f"{digest[:2]}/{digest[2:]}"
        path = self.root / location
        with self._lock(shared=True):
            if _content(path) == data:
                os.utime(path)  # young again: `remove_unreferenced` must leave it to the transaction to come
            else:
                write_file(path, data)
        return Asset(name, location, True, media_type, digest, len(data))

    def take(self, location: str, blocks: Iterable[bytes]) -> None:
        """Keep a file that comes in blocks and whose location is known, which is its checksum.

        Raises `StoreCorrupt`, with nothing kept, if its bytes have another.
        """
        if not _LOCATION.fullmatch(location):
            raise StoreCorrupt(f"{location!r} is no place in the asset store")
        path = self.root / location
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, hashed = temporary_beside(path), hashlib.sha256()
        with self._lock(shared=True):
            try:
                with temporary.open("xb") as file:
                    for block in blocks:
                        hashed.update(block)
                        file.write(block)
                if hashed.hexdigest() != location.replace("/", ""):
                    raise StoreCorrupt(f"the bytes for {location} have the checksum {hashed.hexdigest()}")
                flush_file(temporary)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        flush_file(path.parent)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """No file is removed while the block runs."""
        with self._lock(shared=True):
            yield

    def path(self, asset: Asset) -> Path:
        """Where the asset's file is. Raises `AssetNotFound` if nothing is there."""
        path = self._path(asset)
        if not path.is_file():
            raise AssetNotFound(f"the file of asset {asset.name!r} is gone: {path}")
        return path

    def read(self, asset: Asset) -> bytes:
        """The asset's bytes. Raises `AssetNotFound`, and `StoreCorrupt` if they are not those that were put."""
        path = self.path(asset)
        data = path.read_bytes()
        if asset.stored and hashlib.sha256(data).hexdigest() != asset.sha256:
            raise StoreCorrupt(f"the file of asset {asset.name!r} has other bytes than were put: {path}")
        return data

    def exists(self, asset: Asset) -> bool:
        return self._path(asset).is_file()

    def is_intact(self, asset: Asset) -> bool:
        """Whether the stored file is there with the bytes that were put. Reads all of it."""
        try:
            with self._path(asset).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == asset.sha256
        except FileNotFoundError:
            return False

    def remove_unreferenced(
        self, referenced: Callable[[Collection[str]], Collection[str]], grace_seconds: float = GRACE_SECONDS
    ) -> int:
        """Remove stored files that no item refers to, and leftovers of killed writers; return how many.

        `referenced` gets locations and says which of them the catalogue knows. Files put in the last
        `grace_seconds` stay, since the transaction that will refer to them may still be open.
        """
        removed = 0
        for folder in _folders(self.root):
            old = {f"{folder.name}/{file.name}" for file in folder.iterdir() if _is_old(file, grace_seconds)}
            unused = old - set(referenced(old))
            with self._lock(shared=False):
                for location in sorted(unused):
                    removed += _remove_old(self.root / location, grace_seconds)
        return removed

    def _path(self, asset: Asset) -> Path:
        return self.root / asset.location if asset.stored else Path(asset.location)

    def _lock(self, shared: bool) -> FileLock:
        return FileLock(self.root / ".lock", shared)


def reference(name: str, path: Path, media_type: str, sha256: str, size_bytes: int) -> Asset:
    """An asset that stays where the user keeps it; checksum and size are those of what was read there."""
    return Asset(name, str(path.absolute()), False, media_type, sha256, size_bytes)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if path.is_dir())


def _is_old(file: Path, grace_seconds: float) -> bool:
    try:
        return file.stat().st_mtime <= time.time() - grace_seconds
    except FileNotFoundError:
        return False


def _remove_old(file: Path, grace_seconds: float) -> bool:
    """Looks at the age once more, now that nobody can put: the file may have been put again meanwhile."""
    if not _is_old(file, grace_seconds):
        return False
    file.unlink()
    return True
