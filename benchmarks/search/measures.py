"""Latency and recall of searches by raw FAISS, by the index behind its seam, and by the engine."""

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
WARM_UP_QUERIES = 20

Search = Callable[[int], Sequence[int]]  # query number -> item numbers, best first


def measure_in_turns(searches: Mapping[str, Search], queries: int, expected: IdArray) -> dict[str, dict[str, float]]:
    """Wall and processor milliseconds, and recall@10 against `expected` (queries, 10), of each search.

    All searches answer a query before the next query, in rotating order, so that other load falls on all alike.
    """
    names = list(searches)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    results: dict[str, list[Sequence[int]]] = {name: [] for name in names}
    for number in range(-min(WARM_UP_QUERIES, queries), queries):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            clock, processor = time.perf_counter(), time.thread_time()
            ids = searches[name](number % queries)
            spent = time.perf_counter() - clock, time.thread_time() - processor
            if number >= 0:
                seconds[name].append(spent)
                results[name].append(ids)
    return {name: _summarise(seconds[name], results[name], expected) for name in names}


def _summarise(
    seconds: Sequence[tuple[float, float]], results: Sequence[Sequence[int]], expected: IdArray
) -> dict[str, float]:
    clock, processor = 1000 * np.array(seconds).T
    hits = [len(set(map(int, ids)) & set(row.tolist())) for ids, row in zip(results, expected, strict=True)]
    return {
        **{f"p{share}_ms": round(float(np.percentile(clock, share)), 3) for share in (50, 95, 99)},
        "cpu_p50_ms": round(float(np.percentile(processor, 50)), 3),
        "recall": round(sum(hits) / expected.size, 4),
    }


def exact_neighbours(gallery: Gallery, queries: FloatArray, shares: Sequence[int]) -> dict[int, IdArray]:
    """Numbers (queries, 10) of the nearest vectors, by how many of a thousand buckets the filter allows."""
    best = {share: (np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)) for share in shares}
    start = 0
    for piece in gallery.vectors():
        scores = queries @ piece.T
        buckets = np.array([bucket_of(number) for number in range(start, start + len(piece))])
        for share in shares:
            allowed = np.flatnonzero(buckets < share)
            candidates = np.broadcast_to(start + allowed, (len(queries), len(allowed)))
            best[share] = _top_k(
                np.hstack([best[share][0], scores[:, allowed]]), np.hstack([best[share][1], candidates])
            )
        start += len(piece)
    return {share: numbers for share, (_, numbers) in best.items()}


def _top_k(scores: FloatArray, numbers: IdArray) -> tuple[FloatArray, IdArray]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)


def raw_faiss(index: FaissIndex, queries: FloatArray) -> Callable[[IdArray | None], Search]:
    """FAISS as its documentation uses it: the same graph or lists, refined with a copy of the same vectors.

    Returns a function that makes a search of everything, or of the `allowed` ids with FAISS's own selector, which does
    not make an index look into more lists.
    """
    native: Any = faiss
    flat = native.IndexFlatIP(queries.shape[1])
    for _, block in index._rows.blocks(index._rows.count):
        flat.add(np.ascontiguousarray(block))
    candidates = index._candidates
    refined = flat if candidates is None else native.IndexRefine(candidates.index, flat)

    def make_search(allowed: IdArray | None) -> Search:
        mask = None if allowed is None else selector(np.isin(index._rows.ids, allowed))
        parameters = native.SearchParameters(sel=mask) if candidates is None else _refine_parameters(candidates, mask)
        faiss.omp_set_num_threads(1)
        return lambda number: refined.search(queries[number : number + 1], K, params=parameters)[1][0]

    return make_search


def _refine_parameters(candidates: Candidates, mask: Any) -> Any:
    """FAISS parameters with the effort that the product spends on a query without a filter."""
    native: Any = faiss
    count = candidates.spare + CANDIDATES_PER_HIT * K
    if candidates.kind is Kind.HNSW:
        base = native.SearchParametersHNSW(efSearch=count, sel=mask)
    else:
        nlist = getattr(candidates.index, "nlist", 0)  # as `Ivf` counts them
        lists = getattr(candidates, "lists_searched", 0) + 2 * count * nlist // candidates.count + 1
        base = native.SearchParametersIVF(nprobe=lists, sel=mask)
    return native.IndexRefineSearchParameters(k_factor=count / K, base_index_params=base)


def index_search(index: FaissIndex, queries: FloatArray, allowed: IdArray | None = None) -> Search:
    """Search of the index behind its seam, whose ids count from 1."""
    return lambda number: index.search(queries[number : number + 1], K, allowed).ids[0] - 1


def engine_search(engine: SearchEngine, where: Filter | None = None) -> Search:
    """Search as a request does it, without HTTP: catalogue, filter, index and rows of the hits."""

    def search(number: int) -> Sequence[int]:
        results = engine.query(COLLECTION, Query((Part("caption", str(number)),), K, where=where))
        return [int(hit.key) for hit in results.hits]

    return search


def bucket_filter(count: int) -> Filter:
    """A filter that `count` of a thousand items pass."""
    return Compare("bucket", Operator.LESS, float(count))
