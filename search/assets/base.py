"""The seam of stored files, named by the checksum of their content, which are in a folder or in a bucket."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from io import BufferedIOBase
from pathlib import Path
from typing import TypeVar

from anyseek.search.assets.files import VerifiedFiles, changed_error, not_found_error
from anyseek.search.errors import StoreCorrupt
from anyseek.search.types import Asset

T = TypeVar("T")
R = TypeVar("R")

# A transaction may commit this long after the file that it refers to was put; younger files are never removed.
GRACE_SECONDS = 3600.0
_LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")

Referenced = Callable[[Collection[str]], Collection[str]]
"""Takes locations and returns those that the catalogue refers to."""


class AssetStore(ABC):
    """Files named by the sha256 of their bytes, so equal content is kept once. Safe for many processes and threads.

    A file is seen whole or not at all. All methods raise `OSError` where a disk or storage fails for now, and
    `StorageRefused` where it will not do what is asked.
    """

    threads = 1  # reads at once that are quicker than one after the other

    def __init__(self) -> None:
        self._files = VerifiedFiles()

    def put(self, name: str, data: bytes, media_type: str) -> Asset:
        """Store `data` and return the asset `name` that refers to it; the bytes are safe when this returns.

        What is there already is kept, counts as new for `remove_unreferenced`, and is replaced if it is damaged.
        """
        digest = hashlib.sha256(data).hexdigest()
        location = f"{digest[:2]}/{digest[2:]}"
        self._write(location, data)
        return Asset(name, location, True, media_type, digest, len(data))

    def put_blocks(self, location: str, blocks: Iterable[bytes]) -> None:
        """Store a file that arrives in blocks at `location`, which its checksum must match.

        Raises `StoreCorrupt`, and stores nothing, if its bytes have another checksum.
        """
        if not _LOCATION.fullmatch(location):
            raise StoreCorrupt(f"{location!r} is not a place in the asset store")
        self._write_blocks(location, blocks)

    def open(self, asset: Asset, root: Path | None = None) -> BufferedIOBase:
        """Open the asset's file for reading at any position, after verifying its content.

        An original must be inside `root`, the folder that it was indexed from. Raises `AssetNotFound`, `AssetChanged`
        for an original whose content has changed, `StoreCorrupt` for a stored file.
        """
        return self._open(asset) if asset.stored else self._files.open(asset, Path(asset.location), root)

    def read(self, asset: Asset) -> bytes:
        """The bytes of a stored file. Raises `AssetNotFound`, `StoreCorrupt` if they are not those that were stored."""
        try:
            with self.stream(asset.location, asset.size_bytes) as file:
                data = file.read()
        except FileNotFoundError as error:
            raise not_found_error(asset) from error
        if hashlib.sha256(data).hexdigest() != asset.sha256:
            raise changed_error(asset, asset.location, "has changed since it was stored")
        return data

    def is_intact(self, asset: Asset) -> bool:
        """True if the stored file exists and is unchanged. Reads the whole file."""
        try:
            with self.stream(asset.location, asset.size_bytes) as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == asset.sha256
        except FileNotFoundError:
            return False

    def prevent_removal(self) -> AbstractContextManager[None]:
        """Keep all files while the block runs; a bucket keeps for a day what it removes, which is enough."""
        return nullcontext()

    @abstractmethod
    def stream(self, location: str, size: int) -> BufferedIOBase:
        """Open the file at `location`, which should have `size` bytes, unverified. Raises `FileNotFoundError`."""

    @abstractmethod
    def remove_unreferenced(self, referenced: Referenced, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove stored files that no item refers to, and leftovers of killed writers; return how many.

        Files put in the last `grace_seconds` stay, since the transaction that will refer to them may still be open.
        """

    @abstractmethod
    def _open(self, asset: Asset) -> BufferedIOBase: ...

    @abstractmethod
    def _write(self, location: str, data: bytes) -> None: ...

    @abstractmethod
    def _write_blocks(self, location: str, blocks: Iterable[bytes]) -> None: ...


def ordered_ahead(work: Callable[[T], R], values: Iterable[T], threads: int) -> Iterator[tuple[T, R]]:
    """Each value and the result of `work`, in order; `threads` of them work ahead, or the caller's thread if one."""
    if threads == 1:
        yield from ((value, work(value)) for value in values)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[tuple[T, Future[R]]] = deque()
        for value in values:
            pending.append((value, pool.submit(work, value)))
            if len(pending) > threads:
                first, future = pending.popleft()
                yield first, future.result()
        yield from ((value, future.result()) for value, future in pending)


def hashing(blocks: Iterable[bytes], location: str) -> Iterable[bytes]:
    """The blocks; raises `StoreCorrupt` after the last one unless their checksum is that of `location`."""
    sha256 = hashlib.sha256()
    for block in blocks:
        sha256.update(block)
        yield block
    if sha256.hexdigest() != location.replace("/", ""):
        raise StoreCorrupt(f"the bytes for {location} have the checksum {sha256.hexdigest()}")
