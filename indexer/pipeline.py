"""The pipeline: leased inputs -> prepared ahead in threads -> embedded as a batch -> written in one transaction.

While the model works on one range, the next is prepared; never more than these two are in memory. Several embedders
divide a range among them (`anyseek.indexer.pipeline`). Each kind of job has its own `Strategy`:
`anyseek.indexer.source_inputs` that of files, `anyseek.indexer.reembed` that of items.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import numpy as np
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from anyseek.indexer.paths import one_line
from anyseek.indexer.runs import TRANSIENT, Owner, Progress, check_not_cancelled
from anyseek.model.compute.devices import AUTO, CPU
from anyseek.model.compute.threads import SHARING, threads_to_use
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.catalogue import jobs, ledger
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Lease, Settled, Span
from anyseek.search.errors import AnyseekError, LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.telemetry.metrics import INPUTS_SETTLED
from anyseek.search.telemetry.spans import time_model_pass

logger = logging.getLogger(__name__)

MODEL_FAILED = "model-failed"
PREPARING_FAILED = "preparing-failed"
MODEL_ERRORS = (RuntimeError, ValueError, ArithmeticError)  # the errors of a model at an input


_LEAST = 4  # samples that are worth an embedder: image encoders take as many at once

# Raw vectors of one sample by space, each (d,).
Vectors = Mapping[str, FloatArray]

# The vectors of each sample in the spaces that are named.
Embed = Callable[[Embedder, Sequence[Sample], Sequence[str]], list[Vectors]]


class Embedders:
    """The workers that `settings` ask for. They start with the first samples, and end with `close`."""

    def __init__(self, settings: Settings) -> None:
        threads = threads_to_use(settings.threads)
        device = settings.device
        if device == AUTO:
            from anyseek.model.compute.placement import settled_device  # imports torch

            device = settled_device(device)
        self.count = settings.work.embedders or (threads if device == CPU else 1)
        each = max(1, threads // self.count)
        self._pool = ThreadPoolExecutor(self.count, "embed", initializer=SHARING.take, initargs=(each,))

    def embed(self, embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
        """The vectors of `embed_samples`, with the samples divided evenly."""
        size = max(_LEAST, -(-len(samples) // self.count))
        shares = [samples[start : start + size] for start in range(0, len(samples), size)]
        with time_model_pass(len(samples)):
            futures = [self._pool.submit(_embed, embedder, share, spaces) for share in shares]
            wait(futures)  # also if one fails: its range is then embedded again, one by one
        return [vectors for future in futures for vectors in future.result()]

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)


def embed_samples(embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
    """The raw vectors of each sample. Raises what the model raises, `ValueError` for values that are no numbers."""
    with time_model_pass(len(samples)):
        return _embed(embedder, samples, spaces)


def _embed(embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
    vectors = embedder.embed_gallery(samples, spaces)
    if not all(np.isfinite(rows).all() for rows in vectors.values()):
        raise ValueError("its vector has values that are not numbers")
    return [{space: rows[place] for space, rows in vectors.items()} for place in range(len(samples))]


@dataclass(frozen=True)
class Prepared:
    """An input that is ready for the model. Strategies add what they write beside its vectors."""

    lease: Lease
    sample: Sample


P = TypeVar("P", bound=Prepared)
H = TypeVar("H")  # what is held of leased inputs


class Strategy(Protocol[P, H]):
    """How the inputs of one kind of job are prepared, embedded and written."""

    @property
    def threads(self) -> int:
        """The number of inputs worth preparing at once."""

    def look_up(self, session: Session, leases: Sequence[Lease]) -> H:
        """What the catalogue has about these inputs, read in the transaction that leases them."""

    def preparer(self, held: H) -> Callable[[Lease], P | Settled]:
        """A function that prepares an input in a thread, or settles it if it is refused or needs nothing.

        Called outside of transactions, because it may load a model.
        """

    def embed(self, prepared: Sequence[P], embed: Embed) -> Sequence[Vectors]:
        """The vectors of each input, at least one, as `embed` makes them of samples.

        Raises one of `MODEL_ERRORS` if the model fails at any of them.
        """

    def write(self, session: Session, made: Sequence[tuple[P, Vectors]], settled: Sequence[Settled]) -> int:
        """Write the results and settle these inputs and others; return how many are given back, to be done again.

        Raises `LeaseLost`; the transaction must then be rolled back.
        """


@dataclass(frozen=True)
class _Range(Generic[P]):
    """Leased inputs on their way."""

    leases: Sequence[Lease]
    outcomes: Sequence["Future[P | Settled]"]


class Pipeline(Generic[P, H]):
    """Settles inputs of a job until none can be leased. One call of `work` at a time."""

    def __init__(self, owner: Owner, progress: Progress, strategy: Strategy[P, H]) -> None:
        work = owner.settings.work
        self._inputs_per_batch = work.inputs_per_batch
        self._lease_time = timedelta(seconds=work.task_seconds)
        self._database = owner.database
        self._owner = owner
        self._progress = progress
        self._strategy = strategy
        self._under_way: list[Lease] = []

    def work(self, job: Job, span: Span | None) -> None:
        """Lease and settle inputs until none of the job, or of `span`, is pending, or the job is scanned again.

        Raises `JobCancelled`, `JobStopped`, `JobDeleted`, and what the strategy raises, as `SourceGone` or
        `FingerprintMismatch`; leases are given back then.
        """
        # What is predicted for an item is a pass of a model beside those of other inputs: a thread each.
        pool = ThreadPoolExecutor(self._strategy.threads, "prepare", initializer=SHARING.take, initargs=(1,))
        embedders = Embedders(self._owner.settings)
        try:
            following = self._begin(job, span, pool)
            while current := following or self._begin(job, span, pool, is_suspect=True):
                # A suspect is worked on alone, so that only it can cause a death.
                following = self._begin(job, span, pool) if following else None
                self._finish(job, current, embedders.embed)
                following = following or self._begin(job, span, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            embedders.close()
            if self._under_way:  # a worker that stops gives its leases back; its attempts do not count
                with self._database.write() as session:
                    ledger.give_back(session, self._under_way)
                self._under_way = []

    def _begin(
        self, job: Job, span: Span | None, pool: ThreadPoolExecutor, is_suspect: bool = False
    ) -> _Range[P] | None:
        """Lease a range, or one suspect, and have it prepared; None if there is none."""
        self._owner.check()
        with self._database.write() as session:
            now = jobs.reread(session, job)
            check_not_cancelled(now)
            if now.state != JobState.RUNNING:
                return None
            ledger.void(session, job.id, self._owner.living(session))
            owner, lasts = self._owner.name, self._lease_time
            if is_suspect:
                suspect = ledger.lease_suspect(session, job.id, owner, lasts, span)
                leases = [suspect] if suspect else []
            else:
                leases = ledger.lease_range(session, job.id, owner, self._inputs_per_batch, lasts, span)
            held = self._strategy.look_up(session, leases)
        if not leases:
            return None
        self._under_way.extend(leases)
        prepare = _refusing(self._strategy.preparer(held))
        # Each thread needs a context of its own, which knows the job and the span that it is worked on in.
        return _Range(leases, [pool.submit(copy_context().run, prepare, lease) for lease in leases])

    def _finish(self, job: Job, current: _Range[P], embed: Embed) -> None:
        """Embed and write a range; if its leases have been lost, another worker does it."""
        outcomes = [future.result() for future in current.outcomes]
        made, failed = self._embed([made for made in outcomes if not isinstance(made, Settled)], embed)
        settled = [outcome for outcome in outcomes if isinstance(outcome, Settled)]
        try:
            with self._database.write() as session:  # everything of a range in one transaction
                jobs.reread(session, job)
                given_back = self._strategy.write(session, made, [*settled, *failed])
        except LeaseLost as error:
            logger.warning("job %d: %s", job.id, error)
        else:
            self._progress.settled(len(current.leases) - given_back)
            INPUTS_SETTLED.inc(len(current.leases) - given_back)
        done = {lease.id for lease in current.leases}
        self._under_way = [lease for lease in self._under_way if lease.id not in done]

    def _embed(self, prepared: Sequence[P], embed: Embed) -> tuple[list[tuple[P, Vectors]], list[Settled]]:
        """The vectors of inputs, and the inputs at which the model failed, found by running each alone."""
        if not prepared:
            return [], []
        try:
            return list(zip(prepared, self._strategy.embed(prepared, embed), strict=True)), []
        except MODEL_ERRORS as error:
            if len(prepared) == 1:
                return [], [Settled(prepared[0].lease, None, f"the model failed at it: {error}", MODEL_FAILED)]
        alone = [self._embed([single], embed) for single in prepared]
        return [pair for made, _ in alone for pair in made], [settled for _, failed in alone for settled in failed]


def _refusing(prepare: Callable[[Lease], P | Settled]) -> Callable[[Lease], P | Settled]:
    """`prepare`, but whatever an input alone makes it raise ends as the input's quarantine."""

    def prepare_or_refuse(lease: Lease) -> P | Settled:
        try:
            return prepare(lease)
        except (AnyseekError, SQLAlchemyError, *TRANSIENT):
            raise
        except Exception as error:
            logger.exception("an unforeseen error while %s was prepared", lease.uri)
            reason = f"{lease.uri} cannot be prepared: {type(error).__name__}: {one_line(str(error))[:500]}"
            return Settled(lease, None, reason, PREPARING_FAILED)

    return prepare_or_refuse
