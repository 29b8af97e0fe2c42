"""The pipeline: lease inputs -> prepare them in threads -> embed them as a batch -> write them in one transaction.

While the model embeds one range, the next is prepared; at most these two are in memory. An `EmbedderPool` splits a
range among threads. Each kind of job has its own `Strategy`: `IndexingStrategy` (`anyseek.indexer.source_inputs`) for
files, `ReembedStrategy` (`anyseek.indexer.reembed`) for items.
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
from anyseek.search.catalogue.ledger import InputResult, Lease, Span
from anyseek.search.errors import AnyseekError, LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.telemetry.metrics import INPUTS_SETTLED
from anyseek.search.telemetry.spans import time_model_pass

logger = logging.getLogger(__name__)

MODEL_FAILED = "model-failed"
PREPARING_FAILED = "preparing-failed"
MODEL_ERRORS = (RuntimeError, ValueError, ArithmeticError)  # raised by a model for an input


_MIN_SAMPLES = 4  # samples per embedder: the batch size of image encoders

# Raw vectors of one sample by space, each (d,).
Vectors = Mapping[str, FloatArray]

# Embeds samples into the named spaces; see `embed_samples`.
Embed = Callable[[Embedder, Sequence[Sample], Sequence[str]], list[Vectors]]


class EmbedderPool:
    """The embedding threads that `settings` configure. They start lazily, and end with `close`."""

    def __init__(self, settings: Settings) -> None:
        threads = threads_to_use(settings.threads)
        device = settings.device
        if device == AUTO:
            from anyseek.model.compute.placement import resolve_device  # imports torch

            device = resolve_device(device)
        self.count = settings.work.embedders or (threads if device == CPU else 1)
        threads_each = max(1, threads // self.count)
        self._pool = ThreadPoolExecutor(self.count, "embed", initializer=SHARING.take, initargs=(threads_each,))

    def embed(self, embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
        """As `embed_samples`, with the samples split evenly among the threads."""
        size = max(_MIN_SAMPLES, -(-len(samples) // self.count))
        shares = [samples[start : start + size] for start in range(0, len(samples), size)]
        with time_model_pass(len(samples)):
            futures = [self._pool.submit(_embed, embedder, share, spaces) for share in shares]
            wait(futures)  # even if one fails: the range is then embedded again, one by one
        return [vectors for future in futures for vectors in future.result()]

    def close(self) -> None:
        """Shut down, waiting for running work."""
        self._pool.shutdown(cancel_futures=True)


def embed_samples(embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
    """The raw vectors of each sample, by space. Raises what the model raises, `ValueError` for non-finite values."""
    with time_model_pass(len(samples)):
        return _embed(embedder, samples, spaces)


def _embed(embedder: Embedder, samples: Sequence[Sample], spaces: Sequence[str]) -> list[Vectors]:
    vectors = embedder.embed_gallery(samples, spaces)
    if not all(np.isfinite(rows).all() for rows in vectors.values()):
        raise ValueError("its vector has values that are not finite")
    return [{space: rows[place] for space, rows in vectors.items()} for place in range(len(samples))]


@dataclass(frozen=True)
class Prepared:
    """An input that is ready for the model. Strategies add what they write with its vectors."""

    lease: Lease
    sample: Sample


P = TypeVar("P", bound=Prepared)
H = TypeVar("H")  # what the catalogue has about leased inputs


class Strategy(Protocol[P, H]):
    """How the inputs of one kind of job are prepared, embedded and written."""

    @property
    def threads(self) -> int:
        """The number of inputs worth preparing at once."""

    def look_up(self, session: Session, leases: Sequence[Lease]) -> H:
        """Read what the catalogue has about these inputs, in the transaction that leases them."""

    def make_preparer(self, stored: H) -> Callable[[Lease], P | InputResult]:
        """Make a function that prepares an input, or settles it if it is refused or unchanged. Runs in threads.

        Called outside of transactions, because it may load a model.
        """

    def embed(self, prepared: Sequence[P], embed: Embed) -> Sequence[Vectors]:
        """The vectors of each of one or more inputs, computed by `embed`.

        Raises one of `MODEL_ERRORS` if the model fails for any of them.
        """

    def write(self, session: Session, embedded: Sequence[tuple[P, Vectors]], settled: Sequence[InputResult]) -> int:
        """Write the results and settle all inputs; return how many were given back, to be leased again.

        Raises `LeaseLost`; the transaction must then be rolled back.
        """


@dataclass(frozen=True)
class _Range(Generic[P]):
    """Leased inputs and the futures of their preparation."""

    leases: Sequence[Lease]
    outcomes: Sequence["Future[P | InputResult]"]


class Pipeline(Generic[P, H]):
    """Settles inputs of a job until none can be leased. Not reentrant."""

    def __init__(self, owner: Owner, progress: Progress, strategy: Strategy[P, H]) -> None:
        work = owner.settings.work
        self._inputs_per_batch = work.inputs_per_batch
        self._lease_time = timedelta(seconds=work.task_seconds)
        self._database = owner.database
        self._owner = owner
        self._progress = progress
        self._strategy = strategy
        self._open_leases: list[Lease] = []

    def work(self, job: Job, span: Span | None) -> None:
        """Lease and settle inputs until none of the job (or of `span`) is pending, or the job is scanned again.

        Raises `JobCancelled`, `JobStopped`, `JobDeleted`, and what the strategy raises, as `SourceGone` or
        `FingerprintMismatch`; leases are given back then.
        """
        # Predicting attributes runs a model in the preparing threads too, so each gets one compute thread.
        pool = ThreadPoolExecutor(self._strategy.threads, "prepare", initializer=SHARING.take, initargs=(1,))
        embedders = EmbedderPool(self._owner.settings)
        try:
            next_range = self._begin(job, span, pool)
            while current := next_range or self._begin(job, span, pool, is_suspect=True):
                # A suspect is processed alone, so that no other input is blamed for a crash.
                next_range = self._begin(job, span, pool) if next_range else None
                self._finish(job, current, embedders.embed)
                next_range = next_range or self._begin(job, span, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            embedders.close()
            if self._open_leases:  # a stopping worker gives its leases back; the attempts do not count
                with self._database.write() as session:
                    ledger.return_leases(session, self._open_leases)
                self._open_leases = []

    def _begin(
        self, job: Job, span: Span | None, pool: ThreadPoolExecutor, is_suspect: bool = False
    ) -> _Range[P] | None:
        """Lease a range, or one suspect, and submit it for preparation; None if there is none."""
        self._owner.check()
        with self._database.write() as session:
            reread = jobs.reload(session, job)
            check_not_cancelled(reread)
            if reread.state != JobState.RUNNING:
                return None
            ledger.revoke_lost_leases(session, job.id, self._owner.liveness_check(session))
            owner, lease_time = self._owner.name, self._lease_time
            if is_suspect:
                suspect = ledger.lease_suspect(session, job.id, owner, lease_time, span)
                leases = [suspect] if suspect else []
            else:
                leases = ledger.lease_range(session, job.id, owner, self._inputs_per_batch, lease_time, span)
            stored = self._strategy.look_up(session, leases)
        if not leases:
            return None
        self._open_leases.extend(leases)
        prepare = _quarantine_errors(self._strategy.make_preparer(stored))
        # Each task runs in a copy of the context, which has the job and the tracing span.
        return _Range(leases, [pool.submit(copy_context().run, prepare, lease) for lease in leases])

    def _finish(self, job: Job, current: _Range[P], embed: Embed) -> None:
        """Embed and write a range; if its leases were lost, another worker does it."""
        outcomes = [future.result() for future in current.outcomes]
        embedded, failed = self._embed([outcome for outcome in outcomes if not isinstance(outcome, InputResult)], embed)
        settled = [outcome for outcome in outcomes if isinstance(outcome, InputResult)]
        try:
            with self._database.write() as session:  # one transaction per range
                jobs.reload(session, job)
                given_back = self._strategy.write(session, embedded, [*settled, *failed])
        except LeaseLost as error:
            logger.warning("job %d: %s", job.id, error)
        else:
            self._progress.settled(len(current.leases) - given_back)
            INPUTS_SETTLED.inc(len(current.leases) - given_back)
        done = {lease.id for lease in current.leases}
        self._open_leases = [lease for lease in self._open_leases if lease.id not in done]

    def _embed(self, prepared: Sequence[P], embed: Embed) -> tuple[list[tuple[P, Vectors]], list[InputResult]]:
        """Inputs with their vectors, and the failed inputs; if the batch fails, each input is embedded alone."""
        if not prepared:
            return [], []
        try:
            return list(zip(prepared, self._strategy.embed(prepared, embed), strict=True)), []
        except MODEL_ERRORS as error:
            if len(prepared) == 1:
                return [], [InputResult(prepared[0].lease, None, f"the model failed for it: {error}", MODEL_FAILED)]
        results = [self._embed([one_input], embed) for one_input in prepared]
        return [pair for pairs, _ in results for pair in pairs], [each for _, failed in results for each in failed]


def _quarantine_errors(prepare: Callable[[Lease], P | InputResult]) -> Callable[[Lease], P | InputResult]:
    """Wrap `prepare` so that an unexpected error quarantines the input; errors of the job are raised."""

    def prepare_or_quarantine(lease: Lease) -> P | InputResult:
        try:
            return prepare(lease)
        except (AnyseekError, SQLAlchemyError, *TRANSIENT):
            raise
        except Exception as error:
            logger.exception("unexpected error while preparing %s", lease.uri)
            reason = f"{lease.uri} cannot be prepared: {type(error).__name__}: {one_line(str(error))[:500]}"
            return InputResult(lease, None, reason, PREPARING_FAILED)

    return prepare_or_quarantine
