"""What it costs that a service is watched: counting a request, timing a stage, its span, and a scrape of `/metrics`."""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from sqlalchemy import insert

from anyseek.api.metrics import Measured
from anyseek.model.hashing import HashingEmbedder
from anyseek.search import spans
from anyseek.search.catalogue import collections, figures, jobs, ledger, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.catalogue.values import chunks
from anyseek.search.metrics import REGISTRY, Stage, timed

REPEATS = 5


def best(work: Callable[[], object], times: int = 1, clock: Callable[[], float] = time.perf_counter) -> float:
    """The shortest time of `REPEATS` runs, in seconds, divided by `times`."""
    seconds = []
    for _ in range(REPEATS):
        started = clock()
        work()
        seconds.append(clock() - started)
    return min(seconds) / times


def cost_of_a_request(requests: int) -> float:
    """Seconds that `Measured` adds to one request."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ignore(message: Any) -> None: ...

    def run(app: Any) -> Callable[[], None]:
        async def ask() -> None:
            for _ in range(requests):
                await app({"type": "http", "method": "GET", "path": "/"}, None, ignore)

        return lambda: asyncio.run(ask())

    return best(run(Measured(answer)), requests) - best(run(answer), requests)


def cost_of_a_stage(times: int) -> float:
    """Seconds that timing adds to one stage."""

    def run() -> None:
        for _ in range(times):
            with timed(Stage.INDEX):
                pass

    return best(run, times)


def cost_of_a_span(times: int, is_traced: bool) -> float:
    """Seconds of the processor that the span of a stage takes; sending it is left out, being done for many at once."""

    def run() -> None:
        with spans.of_task("embed", {}):
            for _ in range(times):
                with spans.of_stage("index"):
                    pass

    if is_traced:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from anyseek.search.opentelemetry_spans import OpenTelemetry

        spans.trace_with(OpenTelemetry("watching", BatchSpanProcessor(InMemorySpanExporter())))
    try:
        return best(run, times, time.process_time)
    finally:
        spans.trace_with(None)


def cost_of_figures(inputs: int) -> float:
    """Seconds to read the numbers of an installation with a running job of so many open inputs, on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'catalogue.sqlite'}")
        upgrade(database)
        with database.write() as session:
            collection = collections.create(session, "c", "hashing", HashingEmbedder().spaces.values())
            source = sources.ensure(session, collection, "/photos")
            job = jobs.open_index_job(session, collection, source, "me", False, lambda name: True).id
            rows = [{"job_id": job, "uri": str(n), "key": str(n), "state": ledger.PENDING} for n in range(inputs)]
            for some in chunks(rows):
                session.execute(insert(LedgerRow), some)

        def read() -> None:
            with database.read() as session:
                figures.figures(session)

        seconds = best(read)
        database.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="how many requests and stages to time")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="open inputs of the ledger that a scrape counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    found = {
        "microseconds of counting a request": 1e6 * cost_of_a_request(asked.requests),
        "microseconds of timing a stage": 1e6 * cost_of_a_stage(asked.requests),
        "microseconds of the span of a stage, not traced": 1e6 * cost_of_a_span(asked.requests, is_traced=False),
        "microseconds of the span of a stage, traced": 1e6 * cost_of_a_span(asked.requests, is_traced=True),
        "milliseconds of writing the text of a scrape": 1e3 * best(lambda: generate_latest(REGISTRY)),
        f"milliseconds of reading the numbers of {asked.inputs:,} open inputs": 1e3 * cost_of_figures(asked.inputs),
    }
    if asked.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{value:10.2f}  {name}")


if __name__ == "__main__":
    main()
