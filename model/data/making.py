"""Plan a data set's shards, and make its samples in worker processes, returning results in order.

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

from anyseek.model.data.contents import entry_of, fitted
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.recipe import Recipe
from anyseek.model.data.registry import Labeller, Place, labeller_kind, source_kind
from anyseek.model.data.samples import DataSample, Source, Split, shard_key
from anyseek.model.data.shards import Entry

_VERSION = 2  # raise it when the same recipe and sources give other shards


@dataclass(frozen=True)
class Job:
    """One sample to be made: the place of its source in the recipe, and its key there."""

    source: int
    key: str


@dataclass(frozen=True)
class ShardPlan:
    """A shard's file and the samples that belong into it, in their order."""

    name: str
    split: Split
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Plan:
    """All shards of a data set. `digest` stands for recipe, sources, keys and weights: what decides the bytes."""

    shards: tuple[ShardPlan, ...]
    digest: str

    @property
    def samples(self) -> int:
        """The number of planned samples."""
        return sum(len(shard.jobs) for shard in self.shards)


def open_sources(recipe: Recipe, place: Place) -> tuple[Source, ...]:
    """The recipe's sources in its order. Raises `SourceUnavailable`, `DownloadFailed` and so on."""
    return tuple(source_kind(source.kind).open(source.name, source.options, place) for source in recipe.sources)


def make_plan(recipe: Recipe, sources: Sequence[Source], place: Place) -> Plan:
    """Order all keys at random by the recipe's seed, and cut them into shards; labellers check that they can work.

    Raises `SourceUnavailable`, and what the labellers raise, such as `WeightsMissing`.
    """
    chosen = _choose(recipe, sources)
    shards: list[ShardPlan] = []
    for split in Split:
        jobs = [job for job, its_split in chosen.items() if its_split is split]
        jobs.sort(key=lambda job: _order(recipe.seed, split, sources[job.source].name, job.key))
        for start in range(0, len(jobs), recipe.shard_samples):
            name = f"{split}-{start // recipe.shard_samples:06d}.tar"
            shards.append(ShardPlan(name, split, tuple(jobs[start : start + recipe.shard_samples])))
    if not shards:
        raise SourceUnavailable(f"the sources of {recipe.name} have no samples at all")
    decisive = {  # everything that decides the bytes of the shards
        "version": _VERSION,
        "recipe": recipe.model_dump(mode="json"),
        "origins": [source.origin for source in sources],
        "labellers": [labeller_kind(used.kind).fetch(used.options, place) for used in recipe.labellers],
        "shards": [[shard.name, *([job.source, job.key] for job in shard.jobs)] for shard in shards],
    }
    return Plan(tuple(shards), hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest())


def _choose(recipe: Recipe, sources: Sequence[Source]) -> dict[Job, Split]:
    """Every job and its split; of a source with a limit, the first ones of its own random order."""
    chosen: dict[Job, Split] = {}
    for number, (source, stated) in enumerate(zip(sources, recipe.sources, strict=True)):
        keys = [(key, split) for split in stated.only or Split for key in source.keys(split)]
        if stated.limit is not None:
            keys = sorted(keys, key=lambda pair: _order(recipe.seed, "limit", source.name, pair[0]))[: stated.limit]
        for key, split in keys:
            if chosen.setdefault(Job(number, key), split) is not split:
                raise SourceUnavailable(f"{key} of {source.name} is in two splits: {chosen[Job(number, key)]}, {split}")
    return chosen


def _order(seed: int, purpose: str, source: str, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{purpose}\n{source}\n{key}".encode(errors="surrogateescape")).digest()


@dataclass(frozen=True)
class Failure:
    """A sample that could not be made. `step` is the labeller at which it failed, or `source` or `storing`."""

    source: str
    key: str
    step: str
    reason: str


Made = Entry | Failure


@dataclass(frozen=True)
class Workshop:
    """What a worker needs to make samples; picklable."""

    recipe: Recipe
    place: Place
    sources: tuple[Source, ...]

    def labellers(self) -> list[Labeller]:
        """New labellers of the recipe, in its order."""
        return [labeller_kind(labeller.kind).open(labeller.options, self.place) for labeller in self.recipe.labellers]


_workshop: Workshop | None = None


def start_worker(workshop: Workshop) -> None:
    """Initialise a worker process: it ignores Ctrl-C, ends with its parent, and keeps the workshop."""
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _workshop = workshop


def _end_with_parent() -> None:
    """End this process when its parent dies: a killed parent cannot, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def make_in_worker(job: Job) -> Made:
    """Make a sample in a process that `start_worker` prepared."""
    assert _workshop is not None
    return make(_workshop, _labellers(), job)


@cache
def _labellers() -> list[Labeller]:
    """This process's labellers, with one thread, since there is one process per core."""
    assert _workshop is not None
    made = _workshop.labellers()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return made


def make(workshop: Workshop, labellers: Sequence[Labeller], job: Job) -> Made:
    """Make one sample's entry, or its `Failure`, for any exception and not only `SampleInvalid`."""
    source, step = workshop.sources[job.source], "source"
    try:
        sample = fitted(source.sample(job.key), workshop.recipe.image_size)
        for labeller in labellers:
            step = labeller.name
            sample = _apply_labeller(sample, labeller)
        step = "storing"
        return entry_of(shard_key(source.name, job.key), sample)
    except Exception as error:  # noqa: BLE001 (whatever one sample raises, the others are made)
        reason = re.sub(" at 0x[0-9a-f]+", "", str(error))  # addresses in memory differ from run to run
        kind = "" if isinstance(error, SampleInvalid) else f"{type(error).__name__}: "
        return Failure(source.name, job.key, step, kind + reason)


def labelled_sample(workshop: Workshop, labellers: Sequence[Labeller], job: Job) -> DataSample:
    """One sample with all its labels, as `make` stores it. Raises `SampleInvalid`."""
    sample = fitted(workshop.sources[job.source].sample(job.key), workshop.recipe.image_size)
    for labeller in labellers:
        sample = _apply_labeller(sample, labeller)
    return sample


def _apply_labeller(sample: DataSample, labeller: Labeller) -> DataSample:
    if not labeller.needs <= sample.values.keys():
        return sample
    return replace(sample, values={**sample.values, **labeller.label(sample)})


_BATCH = 4  # samples that a worker makes at a time
_AHEAD = 256  # samples for each worker that are handed out together


def make_in_order(workshop: Workshop, jobs: Sequence[Job], workers: int) -> Generator[Made, None, None]:
    """Make all jobs in `workers` processes; results are yielded in the order of `jobs`, as early as possible.

    Errors from making the labellers, such as `WeightsMissing`, are raised here.
    """
    done = 0
    pool = _open_pool(workshop, workers)
    try:
        while done < len(jobs):
            try:
                for made in pool.map(make_in_worker, jobs[done : done + workers * _AHEAD], chunksize=_BATCH):
                    done += 1
                    yield made
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                for made in _make_isolated(workshop, jobs[done : done + _BATCH]):
                    done += 1
                    yield made
                pool = _open_pool(workshop, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _make_isolated(workshop: Workshop, jobs: Sequence[Job]) -> Iterator[Made]:
    """Make jobs one by one in a process of their own, to find the one that kills it."""
    left = list(jobs)
    while left:
        with _open_pool(workshop, 1) as pool:
            try:
                while left:
                    yield pool.submit(make_in_worker, left[0]).result()
                    del left[0]
            except BrokenProcessPool:
                job = left.pop(0)
                source = workshop.sources[job.source].name
                yield Failure(source, job.key, "worker", "the process that made it died: a crash, or not enough memory")


def _open_pool(workshop: Workshop, workers: int) -> ProcessPoolExecutor:
    """Fresh processes: a forked one would share the threads' locks of libraries."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(workshop,))
