"""Times and recall of searches."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.search_gallery import COLLECTION, Gallery, put
from model.embedder import FloatArray
from search.catalogue.session import Database
from search.engine import SearchEngine
from search.filters.tree import Compare, Filter, Operator
from search.index.faiss import CANDIDATES_PER_HIT, FaissIndex
from search.index.kinds import Kind
from search.types import IdArray, Part, Query, Results

K = 10
BATCH_PUT = 50

Search = Callable[[int], Sequence[int]]  # number of a query -> ids (or keys as numbers), best first


def times(search: Search, queries: int, expected: IdArray | None) -> dict[str, float]:
    """Milliseconds of single queries one after another, and recall@10 against `expected` (queries, 10)."""
    search(0)
    taken, found = [], []
    for number in range(queries):
        started = time.perf_counter()
        found.append(search(number))
        taken.append(1000 * (time.perf_counter() - started))
    told = {f"p{share}_ms": round(float(np.percentile(taken, share)), 3) for share in (50, 99)}
    if expected is not None:
        hits = [len(set(map(int, ours)) & set(row.tolist())) for ours, row in zip(found, expected, strict=True)]
        told["recall"] = round(sum(hits) / expected.size, 4)
    return told


def exact(gallery: Gallery, allowed: IdArray | None = None) -> IdArray:
    """The numbers of the nearest vectors of each query, among those `allowed`."""
    rows = gallery.vectors if allowed is None else gallery.vectors[allowed]
    places: IdArray = faiss.knn(gallery.queries, rows, K, faiss.METRIC_INNER_PRODUCT)[1]
    return places if allowed is None else allowed[places]


def raw_faiss(index: FaissIndex, gallery: Gallery) -> Search:
    """FAISS as its own documentation would use it: the same graph or lists, refined with the same vectors."""
    native: Any = faiss
    flat = native.IndexFlatIP(gallery.vectors.shape[1])
    flat.add(gallery.vectors)
    held, parameters = index._candidates, None
    if held is not None:
        wanted = held.spare + CANDIDATES_PER_HIT * K
        lists = getattr(held, "lists_searched", 0) + 2 * wanted * getattr(held.index, "nlist", 0) // held.count + 1
        base = (
            native.SearchParametersHNSW(efSearch=wanted)
            if held.kind is Kind.HNSW
            else native.SearchParametersIVF(nprobe=lists)
        )
        parameters = native.IndexRefineSearchParameters(k_factor=wanted / K, base_index_params=base)
        flat = native.IndexRefine(held.index, flat)
    faiss.omp_set_num_threads(1)
    return lambda number: flat.search(gallery.queries[number : number + 1], K, params=parameters)[1][0]


def by_seam(index: FaissIndex, queries: FloatArray, allowed: IdArray | None = None) -> Search:
    """The index alone, behind its seam; ids count from 1."""
    return lambda number: index.search(queries[number : number + 1], K, allowed).ids[0] - 1


def by_engine(engine: SearchEngine, where: Filter | None = None) -> Search:
    """Everything that a request does but HTTP: catalogue, filter, search, and the rows of the hits."""

    def search(number: int) -> Sequence[int]:
        results: Results = engine.query(COLLECTION, Query((Part("caption", str(number)),), K, where=where))
        return [int(hit.item.key) for hit in results.hits]

    return search


def allowing(of_a_thousand: int) -> Filter:
    """A filter that so many of a thousand items pass."""
    return Compare("bucket", Operator.LESS, float(of_a_thousand))


def while_inserting(
    engine: SearchEngine, database: Database, gallery: Gallery, seconds: float, rate: int
) -> dict[str, float]:
    """Times of queries while `rate` items a second are put, and how soon one is found that was just put."""
    stop, done, delays = threading.Event(), [0], []

    def write() -> None:
        due = time.perf_counter()
        for start in range(0, len(gallery.later), BATCH_PUT):
            if stop.is_set():
                return
            put(database, gallery.later[start : start + BATCH_PUT], len(gallery.vectors) + start)
            committed = time.perf_counter()
            engine.query(COLLECTION, Query((Part(item=f"{len(gallery.vectors) + start:09d}"),), 1))
            delays.append(time.perf_counter() - committed)
            done[0] = start + BATCH_PUT
            due += BATCH_PUT / rate
            stop.wait(max(0.0, due - time.perf_counter()))

    writer, search, taken = threading.Thread(target=write), by_engine(engine), []
    writer.start()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds and writer.is_alive():
        started = time.perf_counter()
        search(len(taken) % len(gallery.queries))
        taken.append(1000 * (time.perf_counter() - started))
    lasted = time.perf_counter() - began
    stop.set()
    writer.join()
    return {
        "items_per_second": round(done[0] / lasted, 1),
        "p50_ms": round(float(np.percentile(taken, 50)), 3),
        "p99_ms": round(float(np.percentile(taken, 99)), 3),
        "found_after_s_max": round(max(delays), 3),
    }


def restart(home: Path, kind: str) -> dict[str, float]:
    """A new process that opens the catalogue and answers one query: seconds of both together, and its memory."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[3]); from benchmarks.search_measures import answer_once; "
        "answer_once(sys.argv[1], sys.argv[2])"
    )
    project = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", script, str(home), kind, project]
    child = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": ""})
    seconds, *memory = map(float, child.stdout.split())
    return {"seconds": seconds, **dict(zip(("resident_mb", "anonymous_mb", "mapped_mb"), memory, strict=True))}


def answer_once(home: str, kind: str) -> None:
    """What `restart` runs; the import of packages is not in the time."""
    from benchmarks.search_gallery import SPACE, GivenEmbedder, open_catalogue
    from search.catalogue import collections

    settings, database = open_catalogue(Path(home), kind)
    with database.read() as session:
        dimension = collections.get(session, COLLECTION).spaces[SPACE].dimension
    query = np.full((1, dimension), dimension**-0.5, np.float32)
    started = time.perf_counter()
    engine = SearchEngine(database, settings, GivenEmbedder(query, dimension))
    by_engine(engine)(0)
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    held = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in status if line.startswith(("VmRSS", "Rss"))}
    print(round(seconds, 3), held["VmRSS"], held["RssAnon"], held["RssFile"])
