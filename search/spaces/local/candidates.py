"""FAISS structures that propose rows that are probably nearest; exact scores over `search.spaces.local.rows` decide.

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
# An index returns to a smaller kind only well below the size at which it left it, or a collection that stays around
# that size would be rebuilt again and again.
BACK_BELOW = 0.5

# Dead rows are scored and discarded. At a fifth of all rows, they cost about a fifth of the time and memory.
MOST_DEAD = 0.2
# Fewer dead rows are not worth the work, whatever their share.
LEAST_DEAD = 1_000
# Centroids placed for this many times fewer vectors have lists that are too long.
OUTGROWN = 4
# New vectors are compared one by one up to this number (0.5 ms), then added to the graph or the lists.
MOST_PENDING = 1_024
# They are added in the background, at most this many at once, so that a process can end within seconds.
TAKEN_AT_ONCE = 4_096


@dataclass(frozen=True)
class State:
    """The state of an index. `pending` rows are not in its graph or lists, which were made for `trained_for` rows."""

    kind: Kind
    living: int
    dead: int
    pending: int
    trained_for: int


def suitable(wanted: Kind | None, living: int, held: Kind) -> Kind:
    """The kind for `living` vectors, given the current kind `held`; `wanted` is the user's choice."""
    if wanted is Kind.GPU:
        return Kind.GPU if living > FLAT_UP_TO * (BACK_BELOW if held is Kind.GPU else 1) else Kind.FLAT
    if wanted is not None:
        return wanted if living >= least(wanted) else Kind.FLAT
    if living > HNSW_UP_TO * (BACK_BELOW if held is Kind.IVF else 1):
        return Kind.IVF
    return Kind.HNSW if living > FLAT_UP_TO * (BACK_BELOW if held is not Kind.FLAT else 1) else Kind.FLAT


def least(kind: Kind) -> int:
    """The least number of vectors on which the kind can be trained."""
    return {Kind.IVF: 1_000, Kind.HNSW: 1_000}.get(kind, 0)


def is_worn(state: State) -> bool:
    """True if the index should be rebuilt although its kind suits."""
    rows = state.living + state.dead
    too_many_dead = state.dead > LEAST_DEAD and state.dead > MOST_DEAD * rows
    return too_many_dead or (state.kind is Kind.IVF and rows > OUTGROWN * state.trained_for)


def lists_for(count: int) -> int:
    """The number of lists of an IVF index of `count` vectors: the power of two nearest to twice the square root.

    Finding the nearest centroids costs as much as scanning their lists at about the root; more lists take longer to
    place, fewer make filters and large `k` slow.
    """
    return int(2 ** round(math.log2(2 * math.sqrt(max(1, count)))))


SEED = 1_234
HNSW_NEIGHBOURS = 32
# FAISS wants at least 39 vectors for each centroid, and more gain little.
SAMPLE_PER_LIST = 40
LEAST_SAMPLE = 16_384
ADDED_AT_ONCE = 4_096
# Costs, in comparisons with whole vectors: of one more candidate of a graph (about 15 codes, each of which is waited
# for, while whole vectors are read in a row; the longer the vectors and the more hits, the less), and of one code of a
# list (a sixteenth of the size).
HNSW_COST = 32.0
IVF_CODE_COST = 1 / 16
# The most that FAISS selects on a GPU.
MOST_WANTED = 2_048

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
    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        """About the `wanted` nearest rows of each query (q, d), as (q, wanted) with -1 where there are no more.

        Only a `share` of them will pass the filter, and those lie farther from the query; the search effort of this
        call is raised accordingly. Safe for many threads while nothing is added.
        """

    @abstractmethod
    def cost(self, wanted: int, share: float) -> float:
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

    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        chosen = _native.SearchParametersHNSW(efSearch=wanted)
        rows: IdArray = self.index.search(queries, wanted, params=chosen)[1]
        return rows

    def cost(self, wanted: int, share: float) -> float:
        return HNSW_COST * wanted


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
        lists = min(lists_for(count), max(1, len(sample) // SAMPLE_PER_LIST))
        parts = dimension // 2 if dimension % 2 == 0 else dimension
        index = _native.index_factory(dimension, f"IVF{lists},PQ{parts}x4fs", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = index.pq.cp.seed = SEED
        index.train(sample)
        return cls(index)

    @property
    def trained_for(self) -> int:
        return max(int(self.index.nlist) ** 2 // 4, SAMPLE_PER_LIST * int(self.index.nlist))

    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        chosen = _native.SearchParametersIVF(nprobe=self._lists(wanted, share))
        rows: IdArray = self.index.search(queries, wanted, params=chosen)[1]
        return rows

    def cost(self, wanted: int, share: float) -> float:
        scanned = self._lists(wanted, share) * self.count / self.index.nlist
        return float(wanted + self.index.nlist + IVF_CODE_COST * scanned)

    def _lists(self, wanted: int, share: float) -> int:
        lists = math.ceil(self.lists_searched / share + 2 * wanted * self.index.nlist / max(1, self.count))
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
        self._alone = threading.Lock()  # one call at a time, as FAISS demands of a GPU

    def add(self, vectors: FloatArray) -> None:
        with self._alone:
            self.index.add(vectors)

    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        """At most `MOST_WANTED` of each query."""
        wanted = min(wanted, MOST_WANTED)
        with self._alone:
            rows: IdArray = self.index.search(queries, wanted)[1]
        return rows

    def cost(self, wanted: int, share: float) -> float:
        """A small constant: the GPU compares with all vectors in the time that the CPU needs for some hundreds."""
        return wanted + 500.0 if wanted <= MOST_WANTED else math.inf

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
    return min(count, max(LEAST_SAMPLE, SAMPLE_PER_LIST * lists_for(count)))


def read_candidates(file: BinaryIO) -> Candidates:
    """Read what `write` wrote at this position. Raises `RuntimeError` if FAISS cannot read it."""
    index = _native.read_index(_native.PyCallbackIOReader(file.read))
    if isinstance(index, faiss.IndexHNSWSQ):
        return Hnsw(index)
    if isinstance(index, faiss.IndexIVFPQFastScan):
        return Ivf(index)
    raise RuntimeError(f"a snapshot holds an index of the unknown kind {type(index).__name__}")


def chosen_rows(rows: IdArray, size: int) -> IdArray:
    """`size` of `rows` for training, the same ones each time, ascending."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, size, replace=False))
