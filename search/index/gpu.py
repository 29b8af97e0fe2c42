"""Candidates on a GPU: every vector is compared, in 16-bit floats. Needs faiss-gpu, the extra `gpu`."""

import math
import threading
from typing import Any, BinaryIO, ClassVar

import faiss

from model.embedder import FloatArray
from search.errors import IndexUnavailable
from search.index.kinds import Kind
from search.types import IdArray

# FAISS selects at most so many on a GPU.
MOST_WANTED = 2_048


class GpuMissing(IndexUnavailable):
    """The index is to be on a GPU, and there is none, or FAISS was not built for one."""

    code = "gpu-missing"


def check_gpu() -> None:
    """Raises `GpuMissing` with what to do."""
    if not hasattr(faiss, "StandardGpuResources"):
        raise GpuMissing(
            "the index is set to be on a GPU, but the installed FAISS is for the CPU only; install anyseek[gpu] in "
            "place of anyseek[cpu], or set ANYSEEK_INDEX_DEVICE=cpu"
        )
    if faiss.get_num_gpus() == 0:
        raise GpuMissing(
            "the index is set to be on a GPU, but this machine has none that FAISS can use; "
            "set ANYSEEK_INDEX_DEVICE=cpu"
        )


class Gpu:
    """Rows in the memory of the first GPU, two bytes a number; no snapshot holds them, they are filled in again."""

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
        self._index = gpu.GpuIndexFlatIP(self._resources, dimension, configuration)
        self._alone = threading.Lock()  # one call at a time, as FAISS demands of a GPU

    @property
    def count(self) -> int:
        return int(self._index.ntotal)

    @property
    def trained_for(self) -> int:
        return self.count

    def add(self, vectors: FloatArray) -> None:
        with self._alone:
            self._index.add(vectors)

    def find(self, queries: FloatArray, wanted: int, share: float) -> IdArray:
        """At most `MOST_WANTED` of each query."""
        wanted = min(wanted, MOST_WANTED)
        with self._alone:
            rows: IdArray = self._index.search(queries, wanted)[1]
        return rows

    def cost(self, wanted: int, share: float) -> float:
        """Comparing with all takes the GPU no longer than the CPU some hundreds."""
        return wanted + 500.0 if wanted <= MOST_WANTED else math.inf

    def copy(self) -> "Gpu":
        """An empty one, to be filled from the rows again: that takes a second for a million."""
        return Gpu(self._dimension)

    def write(self, file: BinaryIO) -> None:
        """Nothing."""
