"""Queries over HTTP: a service in its own process, and clients that query it in a closed loop."""

import http.client
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.indexer.runs import IndexerContext
from anyseek.model.seam import Embedder
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from benchmarks.search.gallery import COLLECTION, Gallery, LookupEmbedder, open_catalogue
from benchmarks.search.measures import K
from tests.services.servers import free_port

READY_SECONDS = 180


class LookupRuntime(Runtime):
    """Runtime of a given embedder instead of one that is loaded by its name."""

    def __init__(self, settings: Settings, database: Database, embedder: Embedder) -> None:
        super().__init__(settings, database, embedder.name)
        self._lookup = embedder

    def _load(self, model: str) -> IndexerContext:
        engine = SearchEngine(self.database, self.settings, self._lookup, self._backend)
        return IndexerContext(self.settings, self.database, self.assets, self._lookup, engine)


def serve(home: Path, kind: str, gallery: Gallery, queries: int, port: int) -> None:
    """Run the product's HTTP application until the process ends."""
    import uvicorn

    from anyseek.api.app import create_app
    from anyseek.api.service import Service, ServiceSettings

    settings, database = open_catalogue(home, kind)
    runtime = LookupRuntime(settings, database, LookupEmbedder(gallery.queries(queries), gallery.dimension))
    app = create_app(Service(runtime, ServiceSettings()))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@contextmanager
def running_service(home: Path, kind: str, gallery: Gallery, queries: int) -> Iterator[int]:
    """Start the service in a process and yield its port once it has answered a query."""
    port = free_port()
    target = multiprocessing.get_context("spawn").Process(target=serve, args=(home, kind, gallery, queries, port))
    target.start()
    try:
        _wait_for(port)
        yield port
    finally:
        target.terminate()
        target.join()


def measure_http(port: int, clients: int, queries: int, seconds: float) -> dict[str, Any]:
    """Latency quantiles in milliseconds and throughput of that many concurrent clients."""
    latencies, duration = query_concurrently(port, COLLECTION, _bodies(queries), clients, seconds)
    quantiles = {f"p{share}_ms": round(1000 * float(np.percentile(latencies, share)), 2) for share in (50, 99)}
    return {"clients": clients, **quantiles, "queries_per_second": round(len(latencies) / duration, 1)}


def _bodies(queries: int) -> list[bytes]:
    numbers = map(str, range(queries))
    return [json.dumps({"parts": [{"modality": "caption", "text": text}], "k": K}).encode() for text in numbers]


def query_concurrently(
    port: int, collection: str, bodies: Sequence[bytes], clients: int, seconds: float
) -> tuple[list[float], float]:
    """Query in a closed loop: each client, with one connection, queries again once it has its answer.

    Returns the latencies and the duration, in seconds. Clients take the bodies in turns, from different ones on.
    """
    start = time.perf_counter()

    def run_client(number: int) -> list[float]:
        connection, latencies = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS), list[float]()
        while time.perf_counter() < start + seconds or not latencies:
            query_start = time.perf_counter()
            _post_query(connection, collection, bodies[(7 * number + len(latencies)) % len(bodies)])
            latencies.append(time.perf_counter() - query_start)
        connection.close()
        return latencies

    with ThreadPoolExecutor(clients) as pool:
        latencies = list(chain.from_iterable(pool.map(run_client, range(clients))))
    return latencies, time.perf_counter() - start


def _post_query(connection: http.client.HTTPConnection, collection: str, body: bytes) -> None:
    connection.request("POST", f"/v1/collections/{collection}/query", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    if response.status != http.client.OK:
        raise RuntimeError(f"the service answered {response.status}: {content[:200]!r}")


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            query_concurrently(port, COLLECTION, _bodies(1), 1, 0)
            return
        except ConnectionError:  # it does not listen yet
            time.sleep(0.1)
    raise RuntimeError(f"the service did not answer within {READY_SECONDS} s")
