"""Counters and timers of the work, as Prometheus metrics and as spans of traces.

The service exports it at `/metrics`, a worker on a port of its own (docs/operating.md lists all metrics). Every label
has few values, which this program names. One observation takes a few microseconds.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from anyseek.search.telemetry import spans

disable_created_metrics()  # type: ignore[no-untyped-call]  # a third of all lines, which say when each series began

REGISTRY = CollectorRegistry(auto_describe=True)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Stage(StrEnum):
    """A part of the work of a query or of indexing; one may contain another, such as an index that reads the log."""

    DECODE = "decode"  # of all parts of a query, or of all files of an item
    MODEL = "model"  # one pass
    INDEX = "index"  # following the log, then searching: two of them in a query
    CATALOGUE = "catalogue"  # a transaction of the database or a single read, with the wait for its lock


_STAGE_SECONDS = Histogram(
    "anyseek_stage_seconds", "Seconds that a stage of the work took", ["stage"], buckets=SECONDS, registry=REGISTRY
)
_BATCH = Histogram(
    "anyseek_model_batch_samples",
    "Samples in one pass of the model",
    buckets=[1 << power for power in range(11)],
    registry=REGISTRY,
)
INPUTS_SETTLED = Counter(
    "anyseek_inputs_settled_total",
    "Inputs of jobs that this process indexed, left out or quarantined",
    registry=REGISTRY,
)
DERIVED_COMPARED = Gauge(
    "anyseek_derived_compared_items",
    "Items compared with what filters or full text read of them, in the comparison under way or else the last",
    ["kind"],
    registry=REGISTRY,
)
DERIVED_ENDED = Gauge(
    "anyseek_derived_compared_timestamp_seconds",
    "When such a comparison last ended, in seconds since 1970",
    ["kind"],
    registry=REGISTRY,
)
DERIVED_MENDED = Counter(
    "anyseek_derived_mended_total",
    "Times that damage of what filters or full text read was found and mended",
    ["kind"],
    registry=REGISTRY,
)
_OF_STAGE = {stage: _STAGE_SECONDS.labels(stage.value) for stage in Stage}


@contextmanager
def timed(stage: Stage) -> Iterator[None]:
    """Time the block as one run of a stage, also if it raises; within a trace it is a span."""
    started = time.perf_counter()
    with spans.of_stage(stage.value):
        try:
            yield
        finally:
            _OF_STAGE[stage].observe(time.perf_counter() - started)


@contextmanager
def embedding(samples: int) -> Iterator[None]:
    """Time the block as a pass of the model over so many samples."""
    _BATCH.observe(samples)
    with timed(Stage.MODEL):
        yield
