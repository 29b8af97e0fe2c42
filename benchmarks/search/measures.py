"""Measure times and recall of searches by FAISS alone, behind the seam and by the engine, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import faiss
import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.tree import Compare, Filter, Operator
from anyseek.search.spaces.local.candidates import Candidates, Kind
from anyseek.search.spaces.local.faiss import CANDIDATES_PER_HIT, FaissIndex
from anyseek.search.spaces.local.rows import selector
from anyseek.search.types import IdArray, Part, Query
from benchmarks.search.gallery import COLLECTION, Gallery, bucket_of

K = 10
WARMING = 20

Search = Callable[[int], Sequence[int]]  # number of a query -> ids (or keys as numbers), best first


def in_turns(searches: Mapping[str, Search], queries: int, expected: IdArray) -> dict[str, dict[str, float]]:
    """Milliseconds by the clock and of the processor, and recall@10 against `expected` (queries, 10), of each search.

    Each query goes through all searches before the next one, and another search is the first each time.
    """
    names = list(searches)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    found: dict[str, list[Sequence[int]]] = {name: [] for name in names}
    for number in range(-min(WARMING, queries), queries):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            clock, processor = time.perf_counter(), time.thread_time()
            ids = searches[name](number % queries)
            spent = time.perf_counter() - clock, time.thread_time() - processor
            if number >= 0:
                taken[name].append(spent)
                found[name].append(ids)
    return {name: _told(taken[name], found[name], expected) for name in names}


def _told(taken: Sequence[tuple[float, float]], found: Sequence[Sequence[int]], expected: IdArray) -> dict[str, float]:
    clock, processor = 1000 * np.array(taken).T
    hits = [len(set(map(int, ours)) & set(row.tolist())) for ours, row in zip(found, expected, strict=True)]
    return {
        "p50_ms": round(float(np.percentile(clock, 50)), 3),
        "p95_ms": round(float(np.percentile(clock, 95)), 3),
        "p99_ms": round(float(np.percentile(clock, 99)), 3),
        "cpu_p50_ms": round(float(np.percentile(processor, 50)), 3),
        "recall": round(sum(hits) / expected.size, 4),
    }


def exact(gallery: Gallery, queries: FloatArray, shares: Sequence[int]) -> dict[int, IdArray]:
    """The numbers of the nearest vectors of each query, for each share of a thousand that is allowed."""
    best = {share: (np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)) for share in shares}
    start = 0
    for piece in gallery.vectors():
        scores = queries @ piece.T
        buckets = np.array([bucket_of(number) for number in range(start, start + len(piece))])
        for share in shares:
            allowed = np.flatnonzero(buckets < share)
            here = np.broadcast_to(start + allowed, (len(queries), len(allowed)))
            best[share] = _best(np.hstack([best[share][0], scores[:, allowed]]), np.hstack([best[share][1], here]))
        start += len(piece)
    return {share: numbers for share, (_, numbers) in best.items()}


def _best(scores: FloatArray, numbers: IdArray) -> tuple[FloatArray, IdArray]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)


def raw_faiss(index: FaissIndex, queries: FloatArray) -> Callable[[IdArray | None], Search]:
    """FAISS as its own documentation would use it: the same graph or lists, refined with a copy of the same vectors.

    What is returned makes a search of everything, or of `allowed` ids by FAISS's own selector, which has no index look
    into more lists.
    """
    native: Any = faiss
    flat = native.IndexFlatIP(queries.shape[1])
    for _, block in index._rows.blocks(index._rows.count):
        flat.add(np.ascontiguousarray(block))
    held = index._candidates
    searched = flat if held is None else native.IndexRefine(held.index, flat)

    def among(allowed: IdArray | None) -> Search:
        only = None if allowed is None else selector(np.isin(index._rows.ids, allowed))
        parameters = native.SearchParameters(sel=only) if held is None else _refining(held, only)
        faiss.omp_set_num_threads(1)
        return lambda number: searched.search(queries[number : number + 1], K, params=parameters)[1][0]

    return among


def _refining(held: Candidates, only: Any) -> Any:
    """The effort of the product for a query without a filter."""
    native: Any = faiss
    wanted = held.spare + CANDIDATES_PER_HIT * K
    if held.kind is Kind.HNSW:
        base = native.SearchParametersHNSW(efSearch=wanted, sel=only)
    else:
        nlist = getattr(held.index, "nlist", 0)  # as `Ivf` counts them
        lists = getattr(held, "lists_searched", 0) + 2 * wanted * nlist // held.count + 1
        base = native.SearchParametersIVF(nprobe=lists, sel=only)
    return native.IndexRefineSearchParameters(k_factor=wanted / K, base_index_params=base)


def by_seam(index: FaissIndex, queries: FloatArray, allowed: IdArray | None = None) -> Search:
    """The index alone, behind its seam; ids count from 1."""
    return lambda number: index.search(queries[number : number + 1], K, allowed).ids[0] - 1


def by_engine(engine: SearchEngine, where: Filter | None = None) -> Search:
    """Everything that a request does but HTTP: catalogue, filter, search, and the rows of the hits."""

    def search(number: int) -> Sequence[int]:
        results = engine.query(COLLECTION, Query((Part("caption", str(number)),), K, where=where))
        return [int(hit.key) for hit in results.hits]

    return search


def allowing(of_a_thousand: int) -> Filter:
    """A filter that so many of a thousand items pass."""
    return Compare("bucket", Operator.LESS, float(of_a_thousand))
