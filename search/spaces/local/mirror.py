"""Snapshots in object storage, of which each machine has copies in its own folders.

`indexes/<collection id>/<space id>/<name>/` has `index` and then `header.json`; without the latter it is incomplete.
"""

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from anyseek.model.files import atomic_folder
from anyseek.search.errors import StorageUnavailable
from anyseek.search.object_storage import Bucket
from anyseek.search.spaces.base import StoredState
from anyseek.search.spaces.local import snapshots

logger = logging.getLogger(__name__)

_INDEX, _HEADER = "index", "header.json"
_LISTED_SECONDS = 10.0  # a listing of all snapshots is used for so long to see how old they are


class StoredSnapshots:
    """The snapshots of all spaces in a bucket. Methods raise `StorageUnavailable`."""

    def __init__(self, url: str) -> None:
        self.bucket = Bucket(url)
        self._lister = ThreadPoolExecutor(1, "list-snapshots")
        self._next_listing = 0.0
        self._listing: Future[dict[str, float]] = Future()
        self._headers: dict[str, float] = {}

    def complete(self, prefix: str) -> dict[str, float]:
        """The complete snapshots below a prefix such as `indexes/7/8`, and when each was written."""
        found = self.bucket.find(prefix)
        return {key.rpartition("/")[0]: info.changed for key, info in found.items() if key.endswith(_HEADER)}

    def state(self, prefix: str) -> StoredState:
        """The newest snapshot of a space, as of a few seconds ago. Does not wait for a bucket that does not answer."""
        if time.monotonic() > self._next_listing:
            self._next_listing = time.monotonic() + _LISTED_SECONDS
            self._listing = self._lister.submit(self.complete, "indexes")
            wait([self._listing], timeout=1.0)
        if self._listing.done() and self._listing.exception() is None:
            self._headers = self._listing.result()
        of_space = [(snapshots.position_of(Path(key))[0], key) for key in self._headers if key.startswith(f"{prefix}/")]
        if not of_space:
            return StoredState(0)
        seq, newest = max(of_space)
        return StoredState(seq, datetime.fromtimestamp(self._headers[newest], UTC))

    def space_ids(self) -> set[tuple[int, int]]:
        """The collections and spaces that have anything here."""
        ids = (key.split("/")[1:3] for key in self.bucket.find("indexes"))
        return {(int(collection_id), int(space_id)) for collection_id, space_id in ids}

    def remove(self, prefixes: Iterable[str]) -> None:
        """Remove all below these prefixes, headers first, so that nothing incomplete passes for a snapshot."""
        for prefix in prefixes:
            for key in sorted(self.bucket.find(prefix), key=lambda key: not key.endswith(_HEADER)):
                with suppress(FileNotFoundError):
                    self.bucket.remove(key)


class SnapshotMirror:
    """Copies the snapshots of one space between its folder and the bucket. Methods raise `StorageUnavailable`."""

    def __init__(self, stored: StoredSnapshots, folder: Path) -> None:
        self._stored = stored
        self._folder = folder
        self._prefix = f"indexes/{folder.parent.name}/{folder.name}"

    def state(self) -> StoredState:
        return self._stored.state(self._prefix)

    def fetch(self) -> None:
        """Download the newest snapshot, unless the folder has it or a newer one or the bucket cannot be reached."""
        try:
            self._fetch()
        except StorageUnavailable as error:
            logger.warning("no snapshot is fetched, so an index may be read from the log: %s", error)

    def _fetch(self) -> None:
        newest = [snapshots.position_of(path) for path in snapshots.list_snapshots(self._folder)[-1:]]
        for path in self._complete()[-1:]:
            if newest and snapshots.position_of(path) <= newest[0]:
                continue
            with suppress(FileNotFoundError), atomic_folder(path) as temporary:  # it may have been pruned meanwhile
                for part in (_HEADER, _INDEX):
                    self._stored.bucket.download(f"{self._prefix}/{path.name}/{part}", temporary / part)
        for path in snapshots.list_snapshots(self._folder)[: -snapshots.KEEP_SNAPSHOTS]:
            with suppress(FileNotFoundError):  # another process of this machine has
                snapshots.remove(path)

    def publish(self) -> None:
        """Upload the folder's newest snapshot if the bucket lacks it, and prune; the caller has the lease."""
        complete = self._complete()
        for path in snapshots.list_snapshots(self._folder)[-1:]:
            if path not in complete:
                for part in (_INDEX, _HEADER):
                    self._stored.bucket.upload(f"{self._prefix}/{path.name}/{part}", path / part)
        self._stored.remove(f"{self._prefix}/{path.name}" for path in self._complete()[: -snapshots.KEEP_SNAPSHOTS])

    def clear(self) -> None:
        """Remove all snapshots from the bucket; the caller has the lease."""
        self._stored.remove([self._prefix])

    def _complete(self) -> list[Path]:
        """The complete snapshots in the bucket, by the paths of their copies, oldest first."""
        names = (key.rpartition("/")[2] for key in self._stored.complete(self._prefix))
        return sorted((self._folder / name for name in names), key=snapshots.position_of)
