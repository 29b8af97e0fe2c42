"""Indexing of many small pictures by several processes, then `verify`, and indexing them again unchanged."""

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
from benchmarks.ingest.rates import FILES_A_FOLDER, encode_png
from benchmarks.scale.measuring import bytes_below, catalogue_bytes
from benchmarks.scale.processes import Usage, run_commands

SIDE = 32
_SAMPLE_SECONDS = 0.5
_FIFTH = 5  # the rates of the first and the last fifth of the items are reported


def measure(home: Path, pictures: int, workers: int) -> dict[str, Any]:
    """Measure `workers` processes of `anyseek index` that share a job of `pictures` pictures, in one SQLite catalogue.

    Pictures that `home` already has are not made again.
    """
    folder, settings = home / "pictures", Settings(home / "anyseek")
    settings.make_home()
    database = Database(settings.database_url)
    upgrade(database)
    start = time.perf_counter()
    _make_pictures(folder, pictures)
    report: dict[str, Any] = {"pictures": pictures, "workers": workers, "made_seconds": time.perf_counter() - start}
    environment = _environment(settings, workers)
    index = ("index", str(folder), "--collection", "pictures", "--model", "hashing")
    monitor = _JobMonitor(database)
    usage = run_commands(index, environment, workers, monitor)
    report["indexing"] = _indexing_report(usage, monitor, _newest_job(database))
    report["bytes"] = _sizes(settings, folder)
    report["verify"] = asdict(run_commands(("verify",), environment))
    again = run_commands(index, environment)
    report["unchanged"] = asdict(again) | {"unchanged": _newest_job(database).counts.unchanged}
    database.close()
    return report


def _make_pictures(folder: Path, count: int) -> None:
    """Write PNGs of `SIDE` x `SIDE`, each of a noisy colour, a thousand in each folder."""
    for first in range(0, count, FILES_A_FOLDER):
        subfolder, rng = folder / f"{first // FILES_A_FOLDER:04}", np.random.default_rng(first)
        subfolder.mkdir(parents=True, exist_ok=True)
        for number in range(first, min(first + FILES_A_FOLDER, count)):
            colour, noise = rng.integers(32, 224, 3), rng.integers(-32, 32, (SIDE, SIDE, 3))
            path = subfolder / f"{number:07}.png"
            if not path.exists():
                path.write_bytes(encode_png((colour + noise).astype(np.uint8)))


def _environment(settings: Settings, workers: int) -> dict[str, str]:
    """Environment without the user's settings, with the cores divided among the processes as `anyseek worker` does."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("ANYSEEK")}
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return plain | {"ANYSEEK_HOME": str(settings.home), "OMP_NUM_THREADS": str(threads)}


@dataclass(frozen=True)
class _Observation:
    seconds: float
    state: JobState
    items: int


class _JobMonitor:
    """Records the state of the newest job and the number of items while other processes work."""

    def __init__(self, database: Database) -> None:
        self._database, self._start = database, time.perf_counter()
        self.observations: list[_Observation] = []

    def __call__(self) -> None:
        now = time.perf_counter() - self._start
        if self.observations and now - self.observations[-1].seconds < _SAMPLE_SECONDS:
            return
        with self._database.read() as session:
            newest = jobs.list_page(session, None, 1)
            items = session.scalar(select(func.max(ItemRow.id))) or 0
        if newest:
            self.observations.append(_Observation(now, newest[0].state, items))

    def first_seconds(self, predicate: Callable[[_Observation], bool]) -> float:
        """Seconds of the first observation that satisfies the predicate, or of the last one if none does."""
        return next((seen for seen in self.observations if predicate(seen)), self.observations[-1]).seconds


def _indexing_report(usage: Usage, monitor: _JobMonitor, job: Job) -> dict[str, Any]:
    indexed = max(1, job.counts.indexed)
    scanned = monitor.first_seconds(lambda seen: seen.state != JobState.SCANNING)
    ended = monitor.first_seconds(lambda seen: seen.state not in (JobState.SCANNING, JobState.RUNNING))
    return asdict(usage) | {
        "indexed": job.counts.indexed,
        "quarantined": job.counts.quarantined,
        "scan_seconds": scanned,
        "work_seconds": ended - scanned,
        "snapshot_seconds": max(0.0, usage.seconds - ended),
        "items_a_second": indexed / usage.seconds,
        "processor_ms_an_item": 1_000 * usage.processor_seconds / indexed,
        "paces": list(_edge_rates(monitor, job.counts.indexed)),
    }


def _edge_rates(monitor: _JobMonitor, items: int) -> Iterator[float]:
    """Items per second of the first and the last fifth: equal unless indexing slows as the collection grows."""
    for start, stop in ((0, items // _FIFTH), (items - items // _FIFTH, items)):
        running = [
            seen for seen in monitor.observations if start <= seen.items <= stop and seen.state == JobState.RUNNING
        ]
        seconds = running[-1].seconds - running[0].seconds if running else 0.0
        yield (running[-1].items - running[0].items) / seconds if seconds else 0.0


def _newest_job(database: Database) -> Job:
    with database.read() as session:
        return jobs.list_page(session, None, 1)[0]


def _sizes(settings: Settings, folder: Path) -> dict[str, int]:
    parts = {"pictures": folder, "thumbnails": settings.assets, "index": settings.indexes}
    return {"catalogue": catalogue_bytes(settings.home)} | {name: bytes_below(path) for name, path in parts.items()}
