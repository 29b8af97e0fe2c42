"""Plans a data set's shards, and makes its samples in worker processes, with results in order.

Samples are assigned to shards before any work starts, so that a build can stop and resume anywhere. A sample that kills
its process affects no other sample.
"""

import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache

from anyseek.model.data.contents import downscale, entry_of
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.recipe import Recipe
from anyseek.model.data.registry import BuildSettings, Labeller, labeller_kind, source_kind
from anyseek.model.data.samples import DataSample, Source, Split, shard_key
from anyseek.model.data.shards import Entry

_VERSION = 2  # raise it when the same recipe and sources give other shards


@dataclass(frozen=True)
class SampleTask:
    """A sample to be made: the index of its source in the recipe, and its key in the source."""

    source: int
    key: str


@dataclass(frozen=True)
class ShardPlan:
    """A shard's file name, and its samples in order."""

    name: str
    split: Split
    tasks: tuple[SampleTask, ...]


@dataclass(frozen=True)
class Plan:
    """All shards of a data set. `digest` identifies their bytes: the recipe, sources, keys and weights."""

    shards: tuple[ShardPlan, ...]
    digest: str

    @property
    def samples(self) -> int:
        """The number of planned samples."""
        return sum(len(shard.tasks) for shard in self.shards)


def open_sources(recipe: Recipe, settings: BuildSettings) -> tuple[Source, ...]:
    """The recipe's sources in order. Raises `SourceUnavailable`, `DownloadFailed` and other errors of sources."""
    return tuple(source_kind(source.kind).open(source.name, source.options, settings) for source in recipe.sources)


def make_plan(recipe: Recipe, sources: Sequence[Source], settings: BuildSettings) -> Plan:
    """Shuffle all keys by the recipe's seed and divide them into shards; labellers fetch what they need.

    Raises `SourceUnavailable`, and the errors of labellers, such as `WeightsMissing`.
    """
    split_by_task = _select_tasks(recipe, sources)
    shards: list[ShardPlan] = []
    for split in Split:
        tasks = [task for task, task_split in split_by_task.items() if task_split is split]
        tasks.sort(key=lambda task: _order(recipe.seed, split, sources[task.source].name, task.key))
        for start in range(0, len(tasks), recipe.shard_samples):
            name = f"{split}-{start // recipe.shard_samples:06d}.tar"
            shards.append(ShardPlan(name, split, tuple(tasks[start : start + recipe.shard_samples])))
    if not shards:
        raise SourceUnavailable(f"the sources of {recipe.name} have no samples")
    digest_inputs = {  # everything that the bytes of the shards depend on
        "version": _VERSION,
        "recipe": recipe.model_dump(mode="json"),
        "origins": [source.origin for source in sources],
        "labellers": [labeller_kind(row.kind).fetch(row.options, settings) for row in recipe.labellers],
        "shards": [[shard.name, *([task.source, task.key] for task in shard.tasks)] for shard in shards],
    }
    return Plan(tuple(shards), hashlib.sha256(json.dumps(digest_inputs, sort_keys=True).encode()).hexdigest())


def _select_tasks(recipe: Recipe, sources: Sequence[Source]) -> dict[SampleTask, Split]:
    """Every task with its split; of a source with a limit, the first ones in a random order of its own."""
    split_by_task: dict[SampleTask, Split] = {}
    for number, (source, row) in enumerate(zip(sources, recipe.sources, strict=True)):
        keys = [(key, split) for split in row.only or Split for key in source.keys(split)]
        if row.limit is not None:
            keys = sorted(keys, key=lambda pair: _order(recipe.seed, "limit", source.name, pair[0]))[: row.limit]
        for key, split in keys:
            earlier = split_by_task.setdefault(SampleTask(number, key), split)
            if earlier is not split:
                raise SourceUnavailable(f"{key} of {source.name} is in two splits: {earlier}, {split}")
    return split_by_task


def _order(seed: int, purpose: str, source: str, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{purpose}\n{source}\n{key}".encode(errors="surrogateescape")).digest()


@dataclass(frozen=True)
class Failure:
    """A sample that could not be made. `step` is the name of the labeller that failed, or `source` or `storing`."""

    source: str
    key: str
    step: str
    reason: str


Outcome = Entry | Failure


@dataclass(frozen=True)
class BuildContext:
    """The recipe, settings and sources that a worker process gets; picklable."""

    recipe: Recipe
    settings: BuildSettings
    sources: tuple[Source, ...]

    def labellers(self) -> list[Labeller]:
        """New labellers of the recipe, in its order."""
        return [labeller_kind(row.kind).open(row.options, self.settings) for row in self.recipe.labellers]


_context: BuildContext | None = None


def start_worker(context: BuildContext) -> None:
    """Initialise a worker process: it ignores Ctrl-C, ends with its parent, and keeps the context."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _context = context


def _end_with_parent() -> None:
    """Exit when the parent process dies: a killed parent stops no workers, and they would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def make_in_worker(task: SampleTask) -> Outcome:
    """Make a sample in a process that `start_worker` has initialised."""
    assert _context is not None
    return make(_context, _labellers(), task)


@cache
def _labellers() -> list[Labeller]:
    """The labellers of this process. PyTorch gets one thread, because there is one process per core."""
    assert _context is not None
    labellers = _context.labellers()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return labellers


def make(context: BuildContext, labellers: Sequence[Labeller], task: SampleTask) -> Outcome:
    """The entry of one sample, or its `Failure`, for any exception and not only `SampleInvalid`."""
    source, step = context.sources[task.source], "source"
    try:
        sample = downscale(source.sample(task.key), context.recipe.image_size)
        for labeller in labellers:
            step = labeller.name
            sample = _apply_labeller(sample, labeller)
        step = "storing"
        return entry_of(shard_key(source.name, task.key), sample)
    except Exception as error:  # noqa: BLE001 (an error of one sample must not stop the others)
        reason = re.sub(" at 0x[0-9a-f]+", "", str(error))  # addresses in memory differ from run to run
        kind = "" if isinstance(error, SampleInvalid) else f"{type(error).__name__}: "
        return Failure(source.name, task.key, step, kind + reason)


def labelled_sample(context: BuildContext, labellers: Sequence[Labeller], task: SampleTask) -> DataSample:
    """A sample with all its labels, as `make` stores it. Raises `SampleInvalid`."""
    sample = downscale(context.sources[task.source].sample(task.key), context.recipe.image_size)
    for labeller in labellers:
        sample = _apply_labeller(sample, labeller)
    return sample


def _apply_labeller(sample: DataSample, labeller: Labeller) -> DataSample:
    if not labeller.needs <= sample.values.keys():
        return sample
    return replace(sample, values={**sample.values, **labeller.label(sample)})


_BATCH = 4  # samples per chunk of a worker
_AHEAD = 256  # samples per worker that are submitted together


def make_in_order(context: BuildContext, tasks: Sequence[SampleTask], workers: int) -> Generator[Outcome, None, None]:
    """Run all tasks in `workers` processes; yields their outcomes in the order of `tasks`, as early as possible.

    Raises the errors of opening the labellers, such as `WeightsMissing`.
    """
    done = 0
    pool = _open_pool(context, workers)
    try:
        while done < len(tasks):
            try:
                for outcome in pool.map(make_in_worker, tasks[done : done + workers * _AHEAD], chunksize=_BATCH):
                    done += 1
                    yield outcome
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                for outcome in _make_isolated(context, tasks[done : done + _BATCH]):
                    done += 1
                    yield outcome
                pool = _open_pool(context, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _make_isolated(context: BuildContext, tasks: Sequence[SampleTask]) -> Iterator[Outcome]:
    """Run tasks one by one in a separate process, to find the one that kills it."""
    remaining = list(tasks)
    while remaining:
        with _open_pool(context, 1) as pool:
            try:
                while remaining:
                    yield pool.submit(make_in_worker, remaining[0]).result()
                    del remaining[0]
            except BrokenProcessPool:
                task = remaining.pop(0)
                source = context.sources[task.source].name
                reason = "the process that made it died: a crash, or not enough memory"
                yield Failure(source, task.key, "worker", reason)


def _open_pool(context: BuildContext, workers: int) -> ProcessPoolExecutor:
    """A pool of spawned processes: forked ones would inherit locks that threads of libraries hold."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawn, initializer=start_worker, initargs=(context,))
