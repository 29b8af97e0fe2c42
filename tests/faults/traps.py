"""What is set up inside processes that are going to be harmed, before they do anything. Imports no torch."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import anyseek.model.hashing as hashing
from anyseek.model.seam import FloatArray, Sample
from tests.indexer.harness import Trapped


@dataclass(frozen=True)
class Point:
    """The `call`-th call of a function, at which a process dies: as it begins, or once it has done its work."""

    function: str
    after: bool
    call: int = 1


# Between any two of: asset written, row committed, vector logged, snapshot renamed.
WORK_POINTS = {
    "asset written beside": Point("anyseek.model.files:flush_file", after=True),
    "asset renamed": Point("anyseek.search.assets.base:AssetStore.put", after=True),
    "batch embedded": Point("anyseek.indexer.pipeline:Pipeline._embed", after=True),
    "ledger settled, items not": Point("anyseek.search.catalogue.ledger:settle", after=True),
    "items written, vectors not": Point("anyseek.search.catalogue.log:append", after=False),
    "vectors logged, nothing committed": Point("anyseek.search.catalogue.log:append", after=True),
    "batch committed": Point("anyseek.indexer.pipeline:Pipeline._finish", after=True),
}
END_POINTS = {
    "job closed, not committed": Point("anyseek.search.catalogue.jobs:complete", after=True),
    "snapshot begun": Point("anyseek.search.spaces.local.snapshots:save", after=False),
    "snapshot written, not renamed": Point("anyseek.model.files:_replace_folder", after=False),
    "snapshot renamed, log not compacted": Point("anyseek.search.spaces.local.snapshots:save", after=True),
    "log compacted, not committed": Point("anyseek.search.catalogue.log:compact", after=True),
}


def forbid_torch() -> None:
    """From now on `import torch` fails here."""
    sys.modules["torch"] = None  # type: ignore[assignment]


def slow_down(seconds: float) -> None:
    """Have the model take its time for each picture, so that there is work left to harm; and die of a red one."""

    class Paced(Trapped):
        def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
            time.sleep(seconds * len(samples))
            return super().embed_gallery(samples, spaces)

    hashing.HashingEmbedder = Paced  # type: ignore[misc]


@contextmanager
def delivering_twice() -> Iterator[None]:
    """Have every message go to the broker twice; a worker enters this block and never leaves it."""
    from celery import Celery

    send = Celery.send_task

    def twice(app: Celery, *args: Any, **options: Any) -> Any:
        send(app, *args, **options)
        return send(app, *args, **options)

    Celery.send_task = twice
    try:
        yield
    finally:
        Celery.send_task = send


def put_off_snapshots(seconds: float) -> None:
    """Leave some time between the end of a job and its snapshot."""
    from anyseek.workers.runtime import Runtime

    write = Runtime.write_snapshots

    def late(runtime: Runtime, collection: str) -> bool:
        time.sleep(seconds)
        return write(runtime, collection)

    Runtime.write_snapshots = late  # type: ignore[assignment,method-assign]


def die_at(point: Point) -> None:
    """Have this process kill itself there, whoever calls."""
    holder, name = found(point)
    setattr(holder, name, _deadly(getattr(holder, name), point))


def found(point: Point) -> tuple[Any, str]:
    """The module or class that has the function of a point, and the function's name there."""
    module, _, path = point.function.partition(":")
    *owners, name = path.split(".")
    return reduce(getattr, owners, importlib.import_module(module)), name


def _deadly(function: Callable[..., Any], point: Point) -> Callable[..., Any]:
    calls = 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        last = calls == point.call
        if last and not point.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counted
