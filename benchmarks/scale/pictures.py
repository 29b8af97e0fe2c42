"""Index many small pictures by several processes, check the result, and index the same again."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select

from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.settings import Settings
from benchmarks.ingest.rates import FILES_A_FOLDER, png
from benchmarks.scale.measuring import bytes_below
from benchmarks.scale.processes import Taken, commands

SIDE = 32
_LOOK_SECONDS = 0.5
_SHARE = 5  # the paces of the first and the last fifth are told


def measure(home: Path, pictures: int, workers: int) -> dict[str, Any]:
    """What `workers` processes of `anyseek index` take for `pictures` pictures in one catalogue of SQLite.

    They share one job, as processes that index the same folder do. Pictures that `home` already has are not made again.
    """
    folder, settings = home / "pictures", Settings(home / "anyseek")
    settings.make_home()
    database = Database(settings.database_url)
    upgrade(database)
    began = time.perf_counter()
    _make(folder, pictures)
    told: dict[str, Any] = {"pictures": pictures, "workers": workers, "made_seconds": time.perf_counter() - began}
    environment = _environment(settings, workers)
    index = ("index", str(folder), "--collection", "pictures", "--model", "hashing")
    watch = _Watch(database)
    taken = commands(index, environment, workers, watch)
    told["indexing"] = _indexing(taken, watch, _newest(database))
    told["bytes"] = _sizes(settings, folder)
    told["verify"] = asdict(commands(("verify",), environment))
    again = commands(index, environment)
    told["unchanged"] = asdict(again) | {"unchanged": _newest(database).counts.unchanged}
    database.close()
    return told


def _make(folder: Path, count: int) -> None:
    """PNGs of `SIDE` x `SIDE`: a colour with noise around it, a thousand in each folder."""
    for first in range(0, count, FILES_A_FOLDER):
        inside, chance = folder / f"{first // FILES_A_FOLDER:04}", np.random.default_rng(first)
        inside.mkdir(parents=True, exist_ok=True)
        for number in range(first, min(first + FILES_A_FOLDER, count)):
            colour, noise = chance.integers(32, 224, 3), chance.integers(-32, 32, (SIDE, SIDE, 3))
            path = inside / f"{number:07}.png"
            if not path.exists():
                path.write_bytes(png((colour + noise).astype(np.uint8)))


def _environment(settings: Settings, workers: int) -> dict[str, str]:
    """Without the user's settings; the processors are divided as `anyseek worker` does it."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("ANYSEEK")}
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return plain | {"ANYSEEK_HOME": str(settings.home), "OMP_NUM_THREADS": str(threads)}


@dataclass(frozen=True)
class _Moment:
    seconds: float
    state: JobState
    items: int


class _Watch:
    """Looks into the catalogue while others work; `moments` are what it saw."""

    def __init__(self, database: Database) -> None:
        self._database, self._began = database, time.perf_counter()
        self.moments: list[_Moment] = []

    def __call__(self) -> None:
        now = time.perf_counter() - self._began
        if self.moments and now - self.moments[-1].seconds < _LOOK_SECONDS:
            return
        with self._database.read() as session:
            newest = jobs.list_page(session, None, 1)
            items = session.scalar(select(func.max(ItemRow.id))) or 0
        if newest:
            self.moments.append(_Moment(now, newest[0].state, items))

    def first(self, holds: Callable[[_Moment], bool]) -> float:
        """The second at which something was first seen to hold; that of the last look if it never was."""
        return next((seen.seconds for seen in self.moments if holds(seen)), self.moments[-1].seconds)


def _indexing(taken: Taken, watch: _Watch, job: Job) -> dict[str, Any]:
    """`rate` and those of the first and last fifth are of the time between the scan and the last item."""
    indexed = max(1, job.counts.indexed)
    scanned = watch.first(lambda seen: seen.state != JobState.SCANNING)
    ended = watch.first(lambda seen: seen.state not in (JobState.SCANNING, JobState.RUNNING))
    return asdict(taken) | {
        "indexed": job.counts.indexed,
        "quarantined": job.counts.quarantined,
        "scan_seconds": scanned,
        "work_seconds": ended - scanned,
        "snapshot_seconds": max(0.0, taken.seconds - ended),
        "items_a_second": indexed / taken.seconds,
        "processor_ms_an_item": 1_000 * taken.processor_seconds / indexed,
        "paces": list(_paces(watch, job.counts.indexed)),
    }


def _paces(watch: _Watch, items: int) -> Iterator[float]:
    """Items a second of the first and the last fifth of them: alike unless work gets slower as a collection grows."""
    for start, stop in ((0, items // _SHARE), (items - items // _SHARE, items)):
        held = [seen for seen in watch.moments if start <= seen.items <= stop and seen.state == JobState.RUNNING]
        long = held[-1].seconds - held[0].seconds if held else 0.0
        yield (held[-1].items - held[0].items) / long if long else 0.0


def _newest(database: Database) -> Job:
    with database.read() as session:
        return jobs.list_page(session, None, 1)[0]


def _sizes(settings: Settings, folder: Path) -> dict[str, int]:
    """Bytes of files; a file takes up to a block of the disk more."""
    catalogue = sum(path.stat().st_size for path in settings.home.glob("catalogue.sqlite*"))
    parts = {"pictures": folder, "thumbnails": settings.assets, "index": settings.indexes}
    return {"catalogue": catalogue} | {name: bytes_below(path) for name, path in parts.items()}
