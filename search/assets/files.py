"""Files on a disk that are opened only as what was stored or indexed: regular files of the recorded content."""

import hashlib
import os
import stat
import time
from io import BufferedReader
from pathlib import Path

from anyseek.search.errors import AnyseekError, AssetChanged, AssetNotFound, StoreCorrupt
from anyseek.search.types import Asset

# Without O_NONBLOCK opening a named pipe waits for its other end for ever.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_MAX_VERIFIED = 100_000
# Two writes within one step of the file system's clock leave the same times.
_CLOCK_STEP_NS = 2_000_000_000


class VerifiedFiles:
    """Opens files and verifies their content, by a hash for each state of a file."""

    def __init__(self) -> None:
        self._verified: dict[Path, tuple[str | int, ...]] = {}  # by path, its state when its content was verified

    def open(self, asset: Asset, path: Path, inside: Path | None) -> BufferedReader:
        """Open the asset's file for reading, after verifying that it still has the stored or indexed content.

        It must be a regular file in the folder `inside`, after resolving links. It is hashed, unless this object has
        done so and its size and times are unchanged. Raises `AssetNotFound`, `AssetChanged` for an original whose
        content has changed, `StoreCorrupt` for a stored file.
        """
        resolved = Path(os.path.realpath(path))
        if inside is not None and not resolved.is_relative_to(os.path.realpath(inside)):
            raise changed_error(asset, path, "leads out of its folder")
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
            raise changed_error(asset, path, "is not a regular file")
        state = (asset.sha256, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._verified.get(path) == state:
            return
        if status.st_size != asset.size_bytes or hashlib.file_digest(handle, "sha256").hexdigest() != asset.sha256:
            raise changed_error(asset, path, "has other content")
        handle.seek(0)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _CLOCK_STEP_NS:
            if len(self._verified) >= _MAX_VERIFIED:
                self._verified.clear()
            self._verified[path] = state


def reference(name: str, path: Path, media_type: str, sha256: str, size_bytes: int) -> Asset:
    """An asset that stays where the user keeps it, with the checksum and size of the bytes that were read."""
    return Asset(name, str(path.absolute()), False, media_type, sha256, size_bytes)


def _open_resolved(asset: Asset, path: Path) -> BufferedReader:
    """Open a resolved path; a link that has since replaced the file is refused."""
    try:
        return os.fdopen(os.open(path, _FLAGS), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise not_found_error(asset) from error
    except (OSError, ValueError) as error:  # a ValueError for a NUL in the path
        raise changed_error(asset, path, f"cannot be read ({getattr(error, 'strerror', error)})") from error


def not_found_error(asset: Asset) -> AssetNotFound:
    """The error for a missing file, without its path, which not every reader of the message may see."""
    if asset.stored:
        return AssetNotFound(f"the stored file of {asset.name!r} is gone; run anyseek rebuild, or put it again")
    return AssetNotFound(f"the original of {asset.name!r} is gone from where it was indexed; index its folder again")


def changed_error(asset: Asset, place: Path | str, what: str) -> AnyseekError:
    """The error for a file that is not what was stored or indexed; `place` is where a stored one is."""
    if asset.stored:
        return StoreCorrupt(f"the stored file of {asset.name!r} {what}: {place}; run anyseek rebuild, or put it again")
    return AssetChanged(
        f"the original of {asset.name!r} is not the file that was indexed: it {what}; index its folder again"
    )
