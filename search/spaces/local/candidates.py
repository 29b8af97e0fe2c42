"""Approximate FAISS indexes, which propose candidate rows; exact scores over `search.spaces.local.rows` decide.

A graph (HNSW) or lists (IVF) hold codes only, a quarter or less of the vectors, and stay in memory; the vectors
themselves may stay on the disk.
"""

import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, ClassVar

import faiss
import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.errors import IndexUnavailable
from anyseek.search.types import IdArray


class Kind(StrEnum):
    """The structure by which an index finds the nearest vectors."""

    FLAT = "flat"  # every vector is compared: exact, and nothing to build
    HNSW = "hnsw"  # a graph of neighbours over vectors of 8 bits a number
    IVF = "ivf"  # lists around centroids, with codes of 4 bits for every two numbers
    GPU = "gpu"  # every vector is compared, at 16 bits a number, on a GPU


# Comparing with this many vectors takes 8 ms; with fewer, an index that misses some gains nothing.
FLAT_UP_TO = 20_000
# HNSW is as fast as IVF and misses less, but takes 1 to 2 ms of work per vector: 5 minutes for this many, where IVF
# takes half a minute.
HNSW_UP_TO = 200_000
# An index returns to a smaller kind only below this share of the size at which it left it; otherwise a collection
# around that size would be rebuilt again and again.
HYSTERESIS = 0.5

# Deleted rows are scored and discarded. At a fifth of all rows, they cost about a fifth of the time and memory.
MAX_DELETED_SHARE = 0.2
# Fewer deleted rows are not worth a rebuild, whatever their share.
MIN_DELETED = 1_000
# Centroids placed for this many times fewer vectors have lists that are too long.
OUTGROWN_FACTOR = 4
# New vectors are compared one by one up to this number (0.5 ms), then added to the graph or the lists.
MAX_PENDING = 1_024
# They are added in the background, at most this many at once, so that a process can end within seconds.
MAX_EXTENSION = 4_096


@dataclass(frozen=True)
class IndexState:
    """The state of an index. Its graph or lists lack `pending_count` rows, and were trained for `trained_for` rows."""

    kind: Kind
    live_count: int
    deleted_count: int
    pending_count: int
    trained_for: int


def suitable_kind(requested: Kind | None, live_count: int, current: Kind) -> Kind:
    """The kind for `live_count` vectors, given the `current` one; `requested` is the user's choice."""
    if requested is Kind.GPU:
        return Kind.GPU if live_count > FLAT_UP_TO * (HYSTERESIS if current is Kind.GPU else 1) else Kind.FLAT
    if requested is not None:
        return requested if live_count >= min_vectors(requested) else Kind.FLAT
    if live_count > HNSW_UP_TO * (HYSTERESIS if current is Kind.IVF else 1):
        return Kind.IVF
    return Kind.HNSW if live_count > FLAT_UP_TO * (HYSTERESIS if current is not Kind.FLAT else 1) else Kind.FLAT


def min_vectors(kind: Kind) -> int:
    """The least number of vectors on which the kind can be trained."""
    return {Kind.IVF: 1_000, Kind.HNSW: 1_000}.get(kind, 0)


def needs_rebuild(state: IndexState) -> bool:
    """True if the index should be rebuilt although its kind suits."""
    row_count = state.live_count + state.deleted_count
    has_many_deleted = state.deleted_count > MIN_DELETED and state.deleted_count > MAX_DELETED_SHARE * row_count
    return has_many_deleted or (state.kind is Kind.IVF and row_count > OUTGROWN_FACTOR * state.trained_for)


def list_count(count: int) -> int:
    """The number of lists of an IVF index of `count` vectors: the power of two nearest to twice the square root.

    Finding the nearest centroids costs as much as scanning their lists at about the root; more lists take longer to
    place, fewer make filters and large `k` slow.
    """
    return int(2 ** round(math.log2(2 * math.sqrt(max(1, count)))))


SEED = 1_234
HNSW_NEIGHBOURS = 32
# FAISS wants at least 39 vectors for each centroid, and more gain little.
SAMPLE_PER_LIST = 40
MIN_SAMPLE = 16_384
ADDED_AT_ONCE = 4_096
# Costs, in comparisons with whole vectors: of one more candidate of a graph (about 15 codes, each of which is waited
# for, while whole vectors are read in a row; the longer the vectors and the more hits, the less), and of one code of a
# list (a sixteenth of the size).
HNSW_COST = 32.0
IVF_CODE_COST = 1 / 16
# The most that FAISS selects on a GPU.
GPU_MAX_K = 2_048

_native: Any = faiss  # its type stubs cover only the C++ side


class GpuMissing(IndexUnavailable):
    """The settings ask for an index on a GPU, but there is no GPU, or FAISS was built without support for it."""

    code = "gpu-missing"


class Candidates(ABC):
    """A searchable summary of rows 0 to `count`; row numbers are the order in which vectors were added.

    `spare` more rows than wanted are requested, since codes rank near vectors in a slightly wrong order.
    """

    kind: ClassVar[Kind]
    spare: ClassVar[int]

    def __init__(self, index: Any) -> None:
        self.index = index

    @property
    def count(self) -> int:
        return int(self.index.ntotal)

    @property
    def trained_for(self) -> int:
        """The number of vectors that its parameters were chosen for."""
        return self.count

    def add(self, vectors: FloatArray) -> None:
        """Add the next rows."""
        self.index.add(vectors)

    @abstractmethod
    def find(self, queries: FloatArray, limit: int, selectivity: float) -> IdArray:
        """About the `limit` nearest rows of each query (q, d), as (q, limit) with -1 where there are no more.

        `selectivity` is the share of rows that pass the filter; the lower it is, the farther they are from the query,
        and the more is searched. Safe for many threads while nothing is added.
        """

    @abstractmethod
    def cost(self, limit: int, selectivity: float) -> float:
        """The cost of `find` and of scoring its rows, in comparisons with whole vectors."""

    def copy(self) -> "Candidates":
        """A copy that can be extended while this one is searched; it may begin with fewer rows."""
        return type(self)(faiss.clone_index(self.index))

    def write(self, file: BinaryIO) -> None:
        """Write what `read_candidates` reads."""
        _native.write_index(self.index, _native.PyCallbackIOWriter(file.write))


class Hnsw(Candidates):
    """A graph in which each vector has up to 32 near neighbours, 64 on the lowest level (Malkov and Yashunin, 2016).

    Distances in it are of 8-bit codes: as good for finding candidates as floats, and a third of the time.
    """

    kind: ClassVar[Kind] = Kind.HNSW
    spare: ClassVar[int] = 34

    @classmethod
    def trained(cls, sample: FloatArray) -> "Hnsw":
        """An empty graph; `sample` (n, d) gives the bounds of each number."""
        codes = faiss.ScalarQuantizer.QT_8bit
        index = _native.IndexHNSWSQ(sample.shape[1], codes, HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        return cls(index)

    def find(self, queries: FloatArray, limit: int, selectivity: float) -> IdArray:
        params = _native.SearchParametersHNSW(efSearch=limit)
        rows: IdArray = self.index.search(queries, limit, params=params)[1]
        return rows

    def cost(self, limit: int, selectivity: float) -> float:
        return HNSW_COST * limit


class Ivf(Candidates):
    """Lists around centroids (Jégou et al., 2011), with 4-bit codes that are compared 32 at a time in registers."""

    kind: ClassVar[Kind] = Kind.IVF
    spare: ClassVar[int] = 100
    lists_searched: ClassVar[int] = 24

    @classmethod
    def trained(cls, sample: FloatArray, count: int) -> "Ivf":
        """Empty lists, as many as `count` vectors need and the sample allows.

        A vector has one 4-bit code for two of its numbers. With one for four, near vectors come in an order so wrong
        that 20 times as many candidates are needed for the same recall behind a filter.
        """
        dimension = sample.shape[1]
        lists = min(list_count(count), max(1, len(sample) // SAMPLE_PER_LIST))
        codes = dimension // 2 if dimension % 2 == 0 else dimension
        index = _native.index_factory(dimension, f"IVF{lists},PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = index.pq.cp.seed = SEED
        index.train(sample)
        return cls(index)

    @property
    def trained_for(self) -> int:
        return max(int(self.index.nlist) ** 2 // 4, SAMPLE_PER_LIST * int(self.index.nlist))

    def find(self, queries: FloatArray, limit: int, selectivity: float) -> IdArray:
        params = _native.SearchParametersIVF(nprobe=self._probed_lists(limit, selectivity))
        rows: IdArray = self.index.search(queries, limit, params=params)[1]
        return rows

    def cost(self, limit: int, selectivity: float) -> float:
        scanned = self._probed_lists(limit, selectivity) * self.count / self.index.nlist
        return float(limit + self.index.nlist + IVF_CODE_COST * scanned)

    def _probed_lists(self, limit: int, selectivity: float) -> int:
        lists = math.ceil(self.lists_searched / selectivity + 2 * limit * self.index.nlist / max(1, self.count))
        return int(min(self.index.nlist, lists))


class Gpu(Candidates):
    """Every vector is compared, in 16-bit floats, on the first GPU; needs faiss-gpu, the extra `gpu`.

    Snapshots do not contain its rows, which are added again.
    """

    kind: ClassVar[Kind] = Kind.GPU
    spare: ClassVar[int] = 32

    def __init__(self, dimension: int) -> None:
        """Raises `GpuMissing`."""
        check_gpu()
        self._dimension = dimension
        gpu: Any = faiss  # what only faiss-gpu has
        self._resources = gpu.StandardGpuResources()
        configuration = gpu.GpuIndexFlatConfig()
        configuration.useFloat16 = True
        super().__init__(gpu.GpuIndexFlatIP(self._resources, dimension, configuration))
        self._lock = threading.Lock()  # one call at a time, as FAISS demands of a GPU

    def add(self, vectors: FloatArray) -> None:
        with self._lock:
            self.index.add(vectors)

    def find(self, queries: FloatArray, limit: int, selectivity: float) -> IdArray:
        """At most `GPU_MAX_K` of each query."""
        limit = min(limit, GPU_MAX_K)
        with self._lock:
            rows: IdArray = self.index.search(queries, limit)[1]
        return rows

    def cost(self, limit: int, selectivity: float) -> float:
        """A small constant: the GPU compares with all vectors in the time that the CPU needs for some hundreds."""
        return limit + 500.0 if limit <= GPU_MAX_K else math.inf

    def copy(self) -> "Gpu":
        """An empty copy, to be filled from the rows again; a million take about a second."""
        return Gpu(self._dimension)

    def write(self, file: BinaryIO) -> None:
        """Write nothing."""


def check_gpu() -> None:
    """Raises `GpuMissing`, which says what to do."""
    if not hasattr(faiss, "StandardGpuResources"):
        raise GpuMissing(
            "ANYSEEK_INDEX_DEVICE=gpu needs a GPU build of FAISS, but the installed one is for the CPU "
            "only; install anyseek[gpu] in "
            "place of anyseek[cpu], or set ANYSEEK_INDEX_DEVICE=cpu"
        )
    if faiss.get_num_gpus() == 0:
        raise GpuMissing(
            "ANYSEEK_INDEX_DEVICE=gpu needs a GPU that FAISS can use, and this machine has none; "
            "set ANYSEEK_INDEX_DEVICE=cpu"
        )


def sample_size(count: int) -> int:
    """The number of vectors, out of `count`, that a kind is trained on."""
    return min(count, max(MIN_SAMPLE, SAMPLE_PER_LIST * list_count(count)))


def read_candidates(file: BinaryIO) -> Candidates:
    """Read what `write` wrote at this position. Raises `RuntimeError` if FAISS cannot read it."""
    index = _native.read_index(_native.PyCallbackIOReader(file.read))
    if isinstance(index, faiss.IndexHNSWSQ):
        return Hnsw(index)
    if isinstance(index, faiss.IndexIVFPQFastScan):
        return Ivf(index)
    raise RuntimeError(f"a snapshot holds an index of the unknown kind {type(index).__name__}")


def sample_rows(rows: IdArray, size: int) -> IdArray:
    """`size` of `rows` for training, the same ones each time, ascending."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, size, replace=False))
