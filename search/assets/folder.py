"""Assets in a folder, by default in the data directory; machines may share it."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from io import BufferedIOBase
from pathlib import Path

from anyseek.model.files import FileLock, atomic_file, write_file
from anyseek.search.assets.base import GRACE_SECONDS, AssetStore, Referenced, hashing
from anyseek.search.types import Asset


class FolderAssetStore(AssetStore):
    """An `AssetStore` in the folder `root`, which is made when it is needed."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def path(self, asset: Asset) -> Path:
        """The path of a stored file, which may be missing."""
        return self.root / asset.location

    @contextmanager
    def prevent_removal(self) -> Iterator[None]:
        """Works on a read-only disk, too, where the store may not exist."""
        with self._lock(shared=True) if self.root.exists() else nullcontext():
            yield

    def stream(self, location: str, size: int) -> BufferedIOBase:
        return (self.root / location).open("rb")

    def remove_unreferenced(self, referenced: Referenced, grace_seconds: float = GRACE_SECONDS) -> int:
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

    def _open(self, asset: Asset) -> BufferedIOBase:
        return self._files.open(asset, self.path(asset), self.root)

    def _write(self, location: str, data: bytes) -> None:
        path = self.root / location
        with self._lock(shared=True):
            if path.exists() and path.read_bytes() == data:
                os.utime(path)  # resets its age, so that `remove_unreferenced` leaves it to the coming transaction
            else:
                write_file(path, data)

    def _write_blocks(self, location: str, blocks: Iterable[bytes]) -> None:
        path = self.root / location
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(shared=True), atomic_file(path) as temporary, temporary.open("xb") as file:
            for block in hashing(blocks, location):
                file.write(block)

    def _lock(self, shared: bool) -> FileLock:
        return FileLock(self.root / ".lock", shared)


def _is_old(file: Path, grace_seconds: float) -> bool:
    try:
        return file.stat().st_mtime <= time.time() - grace_seconds
    except FileNotFoundError:
        return False
