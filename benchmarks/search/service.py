"""Measure queries over HTTP: a service in its own process, and clients that query one after another."""

import http.client
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.indexer.runs import IndexerContext
from anyseek.model.seam import Embedder
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from benchmarks.search.gallery import COLLECTION, Gallery, GivenEmbedder, open_catalogue
from benchmarks.search.measures import K

READY_SECONDS = 120


class GivenRuntime(Runtime):
    """With a model that is given, not loaded by its name."""

    def __init__(self, settings: Settings, database: Database, embedder: Embedder) -> None:
        super().__init__(settings, database, embedder.name)
        self._given = embedder

    def _load(self, model: str) -> IndexerContext:
        engine = SearchEngine(self.database, self.settings, self._given, self._backend)
        return IndexerContext(self.settings, self.database, self.assets, self._given, engine)


def serve(home: Path, kind: str, gallery: Gallery, queries: int, port: int) -> None:
    """The product's own application; ends with its process."""
    import uvicorn

    from anyseek.api.app import create_app
    from anyseek.api.service import Service, ServiceSettings

    settings, database = open_catalogue(home, kind)
    runtime = GivenRuntime(settings, database, GivenEmbedder(gallery.queries(queries), gallery.dimension))
    app = create_app(Service(runtime, ServiceSettings()))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@contextmanager
def served(home: Path, kind: str, gallery: Gallery, queries: int) -> Iterator[int]:
    """The port of a service that has answered a query."""
    port = _free_port()
    target = multiprocessing.get_context("spawn").Process(target=serve, args=(home, kind, gallery, queries, port))
    target.start()
    try:
        _wait_for(port)
        yield port
    finally:
        target.terminate()
        target.join()


def over_http(port: int, clients: int, queries: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of queries by so many clients at once, each of which asks again when it has its answer."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_ask_on, args=(port, queries, began + seconds, taken[number], number))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted, every = time.perf_counter() - began, [seconds for of_client in taken for seconds in of_client]
    told = {f"p{share}_ms": round(float(np.percentile(every, share)), 2) for share in (50, 99)}
    return {"clients": clients, **told, "queries_per_second": round(len(every) / lasted, 1)}


def _ask_on(port: int, queries: int, until: float, taken: list[float], first: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.perf_counter() < until or not taken:
        started = time.perf_counter()
        status = _ask(connection, (first + len(taken)) % queries)
        if status != http.client.OK:
            raise RuntimeError(f"the service answered {status}")
        taken.append(1000 * (time.perf_counter() - started))
    connection.close()


def _ask(connection: http.client.HTTPConnection, number: int) -> int:
    body = json.dumps({"parts": [{"modality": "caption", "text": str(number)}], "k": K})
    connection.request("POST", f"/v1/collections/{COLLECTION}/query", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS), 0) == http.client.OK:
                return
        except ConnectionError:
            pass  # it does not listen yet
        time.sleep(0.1)
    raise RuntimeError(f"the service did not answer within {READY_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
