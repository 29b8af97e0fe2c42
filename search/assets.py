"""The files of items: stored ones, named by the checksum of their content, and references to files kept elsewhere."""

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from anyseek.model.files import FileLock, atomic_file, file_digest, write_file
from anyseek.search.catalogue import collections, items, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, AssetChanged, AssetNotFound, LimitExceeded, StoreCorrupt
from anyseek.search.types import Asset, Item

# A transaction may commit this long after the file that it refers to was put; younger files are never removed.
GRACE_SECONDS = 3600.0
# Without O_NONBLOCK opening a named pipe waits for its other end for ever.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_MAX_VERIFIED = 100_000
# Two writes within one step of the file system's clock leave the same times.
_CLOCK_STEP_NS = 2_000_000_000
_LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


class AssetStore:
    """A folder of files named by the sha256 of their bytes, so equal content is kept once. Safe for many processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[Path, tuple[str | int, ...]] = {}  # by path, its state when its content was verified

    def put(self, name: str, data: bytes, media_type: str) -> Asset:
        """Store `data` and return the asset `name` that refers to it; the bytes are on the disk when this returns."""
        digest = hashlib.sha256(data).hexdigest()
        location = f"{digest[:2]}/{digest[2:]}"
        path = self.root / location
        with self._lock(shared=True):
            if path.exists() and path.read_bytes() == data:
                os.utime(path)  # resets its age, so that `remove_unreferenced` leaves it to the coming transaction
            else:
                write_file(path, data)
        return Asset(name, location, True, media_type, digest, len(data))

    def put_blocks(self, location: str, blocks: Iterable[bytes]) -> None:
        """Store a file that arrives in blocks at `location`, which its checksum must match.

        Raises `StoreCorrupt`, and stores nothing, if its bytes have another checksum.
        """
        if not _LOCATION.fullmatch(location):
            raise StoreCorrupt(f"{location!r} is not a place in the asset store")
        path = self.root / location
        path.parent.mkdir(parents=True, exist_ok=True)
        sha256 = hashlib.sha256()
        with self._lock(shared=True), atomic_file(path) as temporary:
            with temporary.open("xb") as file:
                for block in blocks:
                    sha256.update(block)
                    file.write(block)
            if sha256.hexdigest() != location.replace("/", ""):
                raise StoreCorrupt(f"the bytes for {location} have the checksum {sha256.hexdigest()}")

    @contextmanager
    def prevent_removal(self) -> Iterator[None]:
        """Keep all files while the block runs; works on a read-only disk, too, where the store may not exist."""
        with self._lock(shared=True) if self.root.exists() else nullcontext():
            yield

    def open(self, asset: Asset, root: Path | None = None) -> BufferedReader:
        """Open the asset's file for reading, after verifying that it still has the stored or indexed content.

        It must be a regular file inside `root`, the folder that it was indexed from, after resolving links. It is
        hashed, unless this store has done so and its size and times are unchanged. Raises `AssetNotFound`,
        `AssetChanged` for an original whose content has changed, `StoreCorrupt` for a stored file.
        """
        path = self._path(asset)
        resolved = Path(os.path.realpath(path))
        inside = self.root if asset.stored else root
        if inside is not None and not resolved.is_relative_to(os.path.realpath(inside)):
            raise _changed_error(asset, path, "leads out of its folder")
        handle = _open_resolved(asset, resolved)
        try:
            self._verify_content(asset, path, handle)
        except BaseException:
            handle.close()
            raise
        return handle

    def _verify_content(self, asset: Asset, path: Path, handle: BufferedReader) -> None:
        """Raises as `open` does, unless the file has the asset's content."""
        status = os.fstat(handle.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _changed_error(asset, path, "is not a regular file")
        state = (asset.sha256, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._verified.get(path) == state:
            return
        if status.st_size != asset.size_bytes or hashlib.file_digest(handle, "sha256").hexdigest() != asset.sha256:
            raise _changed_error(asset, path, "has other content")
        handle.seek(0)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _CLOCK_STEP_NS:
            if len(self._verified) >= _MAX_VERIFIED:
                self._verified.clear()
            self._verified[path] = state

    def path(self, asset: Asset) -> Path:
        """The path of the asset's file. Raises `AssetNotFound` if there is none."""
        path = self._path(asset)
        if not path.is_file():
            raise _not_found_error(asset)
        return path

    def read(self, asset: Asset) -> bytes:
        """The asset's bytes. Raises `AssetNotFound`, and `StoreCorrupt` if they have changed since they were stored."""
        path = self.path(asset)
        data = path.read_bytes()
        if asset.stored and hashlib.sha256(data).hexdigest() != asset.sha256:
            raise StoreCorrupt(f"the file of asset {asset.name!r} has changed since it was stored: {path}")
        return data

    def exists(self, asset: Asset) -> bool:
        return self._path(asset).is_file()

    def is_intact(self, asset: Asset) -> bool:
        """True if the stored file exists and is unchanged. Reads the whole file."""
        try:
            return file_digest(self._path(asset)) == asset.sha256
        except FileNotFoundError:
            return False

    def remove_unreferenced(
        self, referenced: Callable[[Collection[str]], Collection[str]], grace_seconds: float = GRACE_SECONDS
    ) -> int:
        """Remove stored files that no item refers to, and leftovers of killed writers; return how many.

        `referenced` takes locations and returns those that the catalogue knows. Files put in the last
        `grace_seconds` stay, since the transaction that will refer to them may still be open.
        """
        removed = 0
        for folder in sorted(path for path in self.root.glob("*") if path.is_dir()):
            old = {f"{folder.name}/{file.name}" for file in folder.iterdir() if _is_old(file, grace_seconds)}
            unused = old - set(referenced(old))
            with self._lock(shared=False):
                for location in sorted(unused):
                    if _is_old(self.root / location, grace_seconds):  # it may have been put again in the meantime
                        (self.root / location).unlink()
                        removed += 1
        return removed

    def _path(self, asset: Asset) -> Path:
        return self.root / asset.location if asset.stored else Path(asset.location)

    def _lock(self, shared: bool) -> FileLock:
        return FileLock(self.root / ".lock", shared)


def reference(name: str, path: Path, media_type: str, sha256: str, size_bytes: int) -> Asset:
    """An asset that stays where the user keeps it, with the checksum and size of the bytes that were read."""
    return Asset(name, str(path.absolute()), False, media_type, sha256, size_bytes)


def _open_resolved(asset: Asset, path: Path) -> BufferedReader:
    """Open a resolved path; a link that has since replaced the file is refused."""
    try:
        return os.fdopen(os.open(path, _FLAGS), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _not_found_error(asset) from error
    except (OSError, ValueError) as error:  # a ValueError for a NUL in the path
        raise _changed_error(asset, path, f"cannot be read ({getattr(error, 'strerror', error)})") from error


def _not_found_error(asset: Asset) -> AssetNotFound:
    """The error for a missing file, without its path, which not every reader of the message may see."""
    if asset.stored:
        return AssetNotFound(f"the stored file of {asset.name!r} is gone; run anyseek rebuild, or put it again")
    return AssetNotFound(f"the original of {asset.name!r} is gone from where it was indexed; index its folder again")


def _changed_error(asset: Asset, path: Path, what: str) -> AnyseekError:
    if asset.stored:
        return StoreCorrupt(f"the stored file of {asset.name!r} {what}: {path}; run anyseek rebuild, or put it again")
    return AssetChanged(
        f"the original of {asset.name!r} is not the file that was indexed: it {what}; index its folder again"
    )


def _is_old(file: Path, grace_seconds: float) -> bool:
    try:
        return file.stat().st_mtime <= time.time() - grace_seconds
    except FileNotFoundError:
        return False


PICTURE = "rgb"

PictureOf = Callable[[str, str | None], bytes]
"""Reads the picture of an item by its key, from the named collection or else from the one that is searched."""


def asset_of(item: Item, name: str) -> Asset:
    """The file `name` of an item. Raises `AssetNotFound`, which lists the files that the item has."""
    asset = item.assets.get(name)
    if asset is None:
        raise AssetNotFound(f"the item {item.key!r} has no file {name!r}; it has {', '.join(sorted(item.assets))}")
    return asset


def open_asset(database: Database, store: AssetStore, item: Item, asset: Asset) -> BufferedReader:
    """A file of an item, open for reading. Raises as `AssetStore.open` does."""
    with database.read() as session:
        root = None if asset.stored else sources.folder_of(session, item.source_id)
    return store.open(asset, root)


@dataclass(frozen=True)
class Pictures:
    """Reads the pictures of items; a `PictureOf` for queries of `collection`."""

    database: Database
    store: AssetStore
    collection: str
    most_bytes: int

    def __call__(self, key: str, collection: str | None) -> bytes:
        """The bytes of an item's picture.

        Raises `CollectionNotFound`, `ItemNotFound`, `AssetNotFound` for an item without a picture, `LimitExceeded`, and
        as `AssetStore.open` does.
        """
        with self.database.read() as session:
            item = items.get(session, collections.get(session, collection or self.collection), key)
        if PICTURE not in item.assets:
            raise AssetNotFound(f"the item {key!r} has no picture, of which a box or a mask would be a part")
        asset = item.assets[PICTURE]
        if asset.size_bytes > self.most_bytes:
            size, most = f"{asset.size_bytes:,}", f"{self.most_bytes:,}"
            raise LimitExceeded(f"the picture of {key!r} has {size} bytes; at most {most} are allowed")
        with open_asset(self.database, self.store, item, asset) as file:
            return file.read(asset.size_bytes)
