"""Harm done by a full disk: the data directory is on a small one of its own, which is filled to the last byte."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyseek.search.catalogue import collections
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.backend import space_folder
from tests.faults.trial import Trial, harm_until_done, working
from tests.indexer.harness import NAME
from tests.workers.processes import look, submit, wait_for

DISK_MEGABYTES = 128
FULL_SECONDS, MAX = 4.0, 3
_BLOCK = 1 << 20
_LATE_SNAPSHOTS = "traps.put_off_snapshots(3)"


class NoSmallDisk(Exception):
    """Only root may mount one."""


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A tmpfs at `folder`. Raises `NoSmallDisk`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "anyseek-faults", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoSmallDisk(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disk_is_full(trial: Trial) -> int:
    """Full for some seconds while assets are written, and again while the snapshot is, which the workers then write."""
    ballast = trial.context.settings.home / "ballast"

    def fill_for_a_while() -> None:
        fill(ballast)
        time.sleep(FULL_SECONDS)
        ballast.unlink()

    with working(trial, _LATE_SNAPSHOTS) as team:
        job_id = submit(trial.context, trial.gallery.folder)
        filled = harm_until_done(trial, job_id, fill_for_a_while, 3.0, MAX)
        trial.check("No space left" in team.logs, "no worker met the full disk at its assets")
        fill(ballast)
        wait_for(lambda: f"no snapshot of {NAME}" in team.logs, "a snapshot to fail")
        trial.check(not _snapshots(trial), "there is a snapshot in spite of the full disk")
        ballast.unlink()
        wait_for(lambda: _snapshots(trial), "a snapshot, now that there is room")
        trial.check(not look(trial.context, job_id).active, "the job runs again")
    return filled + 1


def fill(ballast: Path) -> None:
    """Take all room there is."""
    size = _BLOCK
    with ballast.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def _snapshots(trial: Trial) -> list[Path]:
    with trial.context.database.read() as session:
        collection = collections.get(session, NAME)
    folders = [space_folder(trial.context.settings, collection.id, space.id) for space in collection.spaces.values()]
    return [path for folder in folders for path in snapshots.list_snapshots(folder)]
