"""Assets in object storage: `assets/<location>`, and `removed/<location>` for what was removed in the last day.

No lock can span an object's removal and another machine's put of the same content. So removal takes two steps: a file
without a reference moves to `removed/`, where readers still find it, and is deleted from there a day later, unless the
catalogue refers to it by then: then it moves back.
"""

import hashlib
import io
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from anyseek.search.assets.base import GRACE_SECONDS, AssetStore, Referenced, hashing
from anyseek.search.assets.files import changed_error, not_found_error
from anyseek.search.object_storage import Bucket, ObjectInfo
from anyseek.search.types import Asset

T = TypeVar("T")

KEPT, REMOVED = "assets", "removed"
# What was removed stays for this many times the grace of new files: a day.
_STAYS = 24
# Larger files are read in ranges, and hashed once before they are sent.
IN_MEMORY = 8 * 1024 * 1024
# To ask for a smaller object takes as long as to write it.
_SMALL = 64 * 1024
_MAX_VERIFIED = 100_000


class BucketAssetStore(AssetStore):
    """An `AssetStore` in a bucket. It never lists more than the objects of one of its 256 folders at once."""

    threads = 16  # most of the time is spent waiting

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket = bucket
        self._verified: dict[str, ObjectInfo] = {}  # by location, the object when its content was verified

    def stream(self, location: str, size: int) -> io.BufferedIOBase:
        if size <= IN_MEMORY:
            return io.BytesIO(self._find(location, self._bucket.read))
        return self._find(location, lambda key: self._bucket.stream(key, self._bucket.info(key).size))

    def remove_unreferenced(self, referenced: Referenced, grace_seconds: float = GRACE_SECONDS) -> int:
        for folder in self._bucket.folders(REMOVED):
            self._delete_removed(folder, referenced, _STAYS * grace_seconds)
        return sum(self._remove(folder, referenced, grace_seconds) for folder in self._bucket.folders(KEPT))

    def _delete_removed(self, folder: str, referenced: Referenced, stays_seconds: float) -> None:
        """Delete what was removed long ago, after restoring what an item refers to after all."""
        locations = self._old(REMOVED, folder, stays_seconds)
        for location in referenced(locations):
            self._bucket.copy(f"{REMOVED}/{location}", f"{KEPT}/{location}")
        for location in locations:
            self._bucket.remove(f"{REMOVED}/{location}")

    def _remove(self, folder: str, referenced: Referenced, grace_seconds: float) -> int:
        old = self._old(KEPT, folder, grace_seconds)
        removed = 0
        for location in sorted(set(old) - set(referenced(old))):
            try:
                self._bucket.copy(f"{KEPT}/{location}", f"{REMOVED}/{location}")
                if _is_old(self._bucket.info(f"{KEPT}/{location}"), grace_seconds):  # it may have been put again
                    self._bucket.remove(f"{KEPT}/{location}")
                    removed += 1
            except FileNotFoundError:
                continue  # another process has removed it
        return removed

    def _old(self, kind: str, folder: str, seconds: float) -> list[str]:
        objects = self._bucket.objects(f"{kind}/{folder}")
        return [f"{folder}/{one.name}" for one in objects if _is_old(one, seconds)]

    def _find(self, location: str, read: Callable[[str], T]) -> T:
        """The result of `read` for the key of the file, also if it has been removed lately."""
        try:
            return read(f"{KEPT}/{location}")
        except FileNotFoundError:
            return read(f"{REMOVED}/{location}")

    def _open(self, asset: Asset) -> io.BufferedIOBase:
        if asset.size_bytes <= IN_MEMORY:
            return io.BytesIO(self.read(asset))
        try:
            info = self._find(asset.location, self._bucket.info)
        except FileNotFoundError as error:
            raise not_found_error(asset) from error
        if self._verified.get(asset.location) != info:
            if info.size != asset.size_bytes or not self.is_intact(asset):
                raise changed_error(asset, asset.location, "has other content")
            if len(self._verified) >= _MAX_VERIFIED:
                self._verified.clear()
            self._verified[asset.location] = info
        return self.stream(asset.location, asset.size_bytes)

    def _write(self, location: str, data: bytes) -> None:
        if len(data) < _SMALL or not self._has_lately(location, data):
            self._bucket.write(f"{KEPT}/{location}", data)

    def _has_lately(self, location: str, data: bytes) -> bool:
        """True if these very bytes were written so lately that nothing can remove them before the grace is over."""
        try:
            info = self._bucket.info(f"{KEPT}/{location}")
        except FileNotFoundError:
            return False
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return info.md5 == md5 and not _is_old(info, GRACE_SECONDS / 2)

    def _write_blocks(self, location: str, blocks: Iterable[bytes]) -> None:
        with TemporaryDirectory(prefix="anyseek-") as folder:
            path = Path(folder) / "asset"
            with path.open("xb") as file:
                for block in hashing(blocks, location):
                    file.write(block)
            self._bucket.upload(f"{KEPT}/{location}", path)


def _is_old(info: ObjectInfo, seconds: float) -> bool:
    return info.changed <= time.time() - seconds
