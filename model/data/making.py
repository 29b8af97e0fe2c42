"""Making one sample: from its source, scaled, through every labeller, to files. Runs in worker processes."""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from model.data.codecs import entry_of
from model.data.errors import SampleInvalid
from model.data.fitting import fitted
from model.data.plan import Job
from model.data.recipe import Recipe
from model.data.registry import Labeller, Place, labeller_kind
from model.data.samples import DataSample, Source, shard_key
from model.data.shards import Entry


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
        """The recipe's labellers in its order, made anew."""
        return [labeller_kind(one.kind).open(one.options, self.place) for one in self.recipe.labellers]


_workshop: Workshop | None = None


def start_worker(workshop: Workshop) -> None:
    """Prepare this process: no Ctrl-C of its own, an end when its parent ends, and the workshop at hand."""
    global _workshop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _workshop = workshop


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def make_all(jobs: Sequence[Job]) -> list[Made]:
    """Make samples in a process that `start_worker` prepared."""
    assert _workshop is not None
    return [make(_workshop, _labellers(), job) for job in jobs]


@cache
def _labellers() -> list[Labeller]:
    """This process's labellers; with one thread, since there is a process for each core."""
    assert _workshop is not None
    made = _workshop.labellers()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return made


def make(workshop: Workshop, labellers: Sequence[Labeller], job: Job) -> Made:
    """One sample's entry, or why there is none. What is a bug and no `SampleInvalid` fails the sample, too."""
    source, step = workshop.sources[job.source], "source"
    try:
        sample = fitted(source.sample(job.key), workshop.recipe.image_size)
        for labeller in labellers:
            step = labeller.name
            sample = _labelled(sample, labeller)
        step = "storing"
        return entry_of(shard_key(source.name, job.key), sample)
    except SampleInvalid as error:
        return Failure(source.name, job.key, step, _said(error))
    except Exception as error:  # noqa: BLE001 (whatever one sample raises, the others are made)
        return Failure(source.name, job.key, step, f"{type(error).__name__}: {_said(error)}")


def _said(error: Exception) -> str:
    """The error's words without addresses in memory, which differ from run to run."""
    return re.sub(" at 0x[0-9a-f]+", "", str(error))


def _labelled(sample: DataSample, labeller: Labeller) -> DataSample:
    if not labeller.needs <= sample.values.keys():
        return sample
    return replace(sample, values={**sample.values, **labeller.label(sample)})
