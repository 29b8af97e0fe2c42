"""Prometheus metrics of queries and indexing; `anyseek.search.telemetry.spans` times their stages.

The service exports them at `/metrics`, a worker on a port of its own (docs/operating.md lists all metrics). Every label
has few values, all defined in this program. One observation takes a few microseconds.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a third of all lines, which say when each series began

REGISTRY = CollectorRegistry(auto_describe=True)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_SECONDS = Histogram(
    "anyseek_stage_seconds", "Seconds that a stage of the work took", ["stage"], buckets=SECONDS, registry=REGISTRY
)
BATCH = Histogram(
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
