"""What proposes rows that are probably nearest, in FAISS; exact scores over `search.index.rows` then decide.

A graph (HNSW) or lists (IVF) hold codes only, a quarter or less of the vectors, and stay in memory; the vectors
themselves may stay on the disk.
"""

import math
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Protocol

import faiss
import numpy as np

from model.embedder import FloatArray
from search.index.kinds import Kind, lists_for
from search.types import IdArray

SEED = 1_234
HNSW_NEIGHBOURS = 32
# FAISS wants at least 39 vectors for each centroid, and more gain little.
SAMPLE_PER_LIST = 40
LEAST_SAMPLE = 16_384
ADDED_AT_ONCE = 4_096
# In comparisons with whole vectors: one more candidate of a graph, which means a look at some 15 codes of a quarter of
# the size, and one code of a list, of a sixteenth of the size.
HNSW_COST = 6.0
IVF_CODE_COST = 1 / 16

_native: Any = faiss  # its type stubs know the C++ side only


class Candidates(Protocol):
    """A searchable summary of rows 0 to `count`; row numbers are the order in which vectors were added.

    `spare` rows are asked for beyond those wanted, since codes put near vectors in a slightly wrong order.
    """

    kind: ClassVar[Kind]
    spare: ClassVar[int]

    @property
    def count(self) -> int: ...

    @property
    def trained_for(self) -> int:
        """How many vectors its parameters were chosen for."""
        ...

    def add(self, vectors: FloatArray) -> None:
        """Take over the next rows."""
        ...

    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        """About the `wanted` nearest rows of each query (q, d), as (q, wanted) with -1 where there are no more.

        Only a `share` of them will count, so those that do lie farther from the query. The effort is for this call
        only. Safe for many threads while nothing is added.
        """
        ...

    def cost(self, wanted: int, share: float) -> float:
        """Of `find` and of scoring what it finds, in comparisons with whole vectors."""
        ...

    def copy(self) -> "Candidates":
        """One that can be added to while this one is searched; it may begin with fewer rows."""
        ...

    def write(self, file: BinaryIO) -> None: ...


@dataclass
class Hnsw:
    """A graph in which each vector has up to 32 near neighbours, 64 on the lowest level (Malkov and Yashunin, 2016).

    Distances in it are of 8-bit codes: as good for finding candidates as floats, and a third of the time.
    """

    index: Any
    kind: ClassVar[Kind] = Kind.HNSW
    spare: ClassVar[int] = 34

    @classmethod
    def trained(cls, sample: FloatArray, count: int) -> "Hnsw":
        """Empty; `sample` (n, d) tells between which bounds each number lies."""
        codes = faiss.ScalarQuantizer.QT_8bit
        index = _native.IndexHNSWSQ(sample.shape[1], codes, HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        return cls(index)

    @property
    def count(self) -> int:
        return int(self.index.ntotal)

    @property
    def trained_for(self) -> int:
        return self.count

    def add(self, vectors: FloatArray) -> None:
        self.index.add(vectors)

    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        chosen = _native.SearchParametersHNSW(efSearch=wanted)
        rows: IdArray = self.index.search(queries, wanted, params=chosen)[1]
        return rows

    def cost(self, wanted: int, share: float) -> float:
        return HNSW_COST * wanted

    def copy(self) -> "Hnsw":
        return Hnsw(faiss.clone_index(self.index))

    def write(self, file: BinaryIO) -> None:
        _write(self.index, file)


@dataclass
class Ivf:
    """Lists around centroids (Jégou et al., 2011), with 4-bit codes that are compared 32 at a time in registers."""

    index: Any
    kind: ClassVar[Kind] = Kind.IVF
    spare: ClassVar[int] = 100
    lists_searched: ClassVar[int] = 24

    @classmethod
    def trained(cls, sample: FloatArray, count: int) -> "Ivf":
        """Empty, with as many lists as `count` vectors need and the sample allows."""
        dimension = sample.shape[1]
        lists = min(lists_for(count), max(1, len(sample) // SAMPLE_PER_LIST))
        index = _native.index_factory(dimension, f"IVF{lists},PQ{_parts(dimension)}x4fs", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = index.pq.cp.seed = SEED
        index.train(sample)
        return cls(index)

    @property
    def count(self) -> int:
        return int(self.index.ntotal)

    @property
    def trained_for(self) -> int:
        return max(int(self.index.nlist) ** 2 // 4, SAMPLE_PER_LIST * int(self.index.nlist))

    def add(self, vectors: FloatArray) -> None:
        self.index.add(vectors)

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

    def copy(self) -> "Ivf":
        return Ivf(faiss.clone_index(self.index))

    def write(self, file: BinaryIO) -> None:
        _write(self.index, file)


def sample_size(count: int) -> int:
    """How many of `count` vectors a kind is trained on."""
    return min(count, max(LEAST_SAMPLE, SAMPLE_PER_LIST * lists_for(count)))


def read_candidates(file: BinaryIO) -> Candidates:
    """What `write` has written from here on. Raises `RuntimeError` where FAISS cannot read it."""
    index = _native.read_index(_native.PyCallbackIOReader(file.read))
    if isinstance(index, faiss.IndexHNSWSQ):
        return Hnsw(index)
    if isinstance(index, faiss.IndexIVFPQFastScan):
        return Ivf(index)
    raise RuntimeError(f"a snapshot holds an index of the kind {type(index).__name__}, which is not used here")


def _write(index: Any, file: BinaryIO) -> None:
    _native.write_index(index, _native.PyCallbackIOWriter(file.write))


def _parts(dimension: int) -> int:
    """How many codes of 4 bits a vector has: one for two numbers.

    With one for four, near vectors come in an order so wrong that 20 times as many candidates are needed for the same
    recall behind a filter.
    """
    return dimension // 2 if dimension % 2 == 0 else dimension


def chosen_rows(rows: IdArray, size: int) -> IdArray:
    """`size` of `rows` for training, the same ones each time, ascending."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, size, replace=False))
